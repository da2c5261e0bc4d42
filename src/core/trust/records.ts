/**
 * What a cluster's members know about trust, as a grow-only set of immutable records: who was admitted (node id and key), who
 * was forgotten, which join tokens were made and which of them have ended. Two sets merge by union, so any member can write,
 * in any order, over any partition, and all end up with the same set.
 *
 * Invariants: a record never changes once written; what ends (a token, a membership) ends by a second record, which wins over
 * the first whatever the order of arrival. A node is a member only when a record admits that very key and none forgets it.
 * A certificate alone is not enough: every member once held the CA's key, so a forgotten one could sign itself a new one.
 *
 * Secrets never appear here: a token is kept as a one-way hash of its secret.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { MinidError } from "../errors.js";
import { type NodeId, nodeId } from "../ids.js";
import { unreachable } from "../invariant.js";

/** Bounds of one cluster's set: enough for a hundred machines over years, small enough to send whole. */
export const membersMax = 256;
export const forgottenMax = 1_024;
export const tokensMax = 512;
/** How long the traces of a token outlive its expiry, so that a member with a slow clock does not bring it back. */
const tokenGraceMs = 24 * 3_600_000;

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`, "u"), `${bytes * 2} hexadecimal digits`);
const id = hex(16).transform(nodeId);
const wallMs = z.number().int().nonnegative().max(8.64e15);

const memberRecord = z.object({ kind: z.literal("member"), nodeId: id, keySha256: hex(32), deviceId: z.string().max(63), by: id, atMs: wallMs });
const forgottenRecord = z.object({ kind: z.literal("forgotten"), nodeId: id, by: id, atMs: wallMs });
const tokenRecord = z.object({ kind: z.literal("token"), tokenId: hex(8), verifier: hex(32), once: z.boolean(), createdAtMs: wallMs, expiresAtMs: wallMs, by: id });
const tokenEndRecord = z.object({ kind: z.literal("token-end"), tokenId: hex(8), reason: z.enum(["revoked", "used"]), usedBy: id.optional(), expiresAtMs: wallMs, by: id, atMs: wallMs });

export const trustRecordSchema = z.discriminatedUnion("kind", [memberRecord, forgottenRecord, tokenRecord, tokenEndRecord]);
export type TrustRecord = z.output<typeof trustRecordSchema>;
export type MemberRecord = z.output<typeof memberRecord>;
export type TokenRecord = z.output<typeof tokenRecord>;
export type TokenEndRecord = z.output<typeof tokenEndRecord>;

/** The record's name in the set and on disk; two records of one key say the same thing. */
export function recordKey(record: TrustRecord): string {
  switch (record.kind) {
    case "member": return `member.${record.nodeId}.${record.keySha256.slice(0, 16)}`;
    case "forgotten": return `forgotten.${record.nodeId}`;
    case "token": return `token.${record.tokenId}`;
    case "token-end": return `token-end.${record.tokenId}`;
    default: return unreachable(record);
  }
}

/** True once nobody needs the record any more: a token's traces, some time after it expired. */
export function isSpent(record: TrustRecord, nowWallMs: number): boolean {
  return (record.kind === "token" || record.kind === "token-end") && nowWallMs > record.expiresAtMs + tokenGraceMs;
}

export class TrustSet {
  static readonly empty = new TrustSet([]);
  readonly #records: ReadonlyMap<string, TrustRecord>;

  constructor(records: Iterable<TrustRecord>) {
    this.#records = new Map([...records].map((record) => [recordKey(record), record]));
  }

  /** @returns this very object when nothing was new. */
  with(records: Iterable<TrustRecord>): TrustSet {
    const fresh = [...records].filter((record) => !this.#records.has(recordKey(record)));
    return fresh.length === 0 ? this : new TrustSet([...this.#records.values(), ...fresh]);
  }

  has(key: string): boolean { return this.#records.has(key); }

  list(): TrustRecord[] { return [...this.#records.values()]; }

  /** Equal sets have equal digests; 16 hexadecimal digits, small enough for every heartbeat. */
  digest(nowWallMs: number): string {
    const keys = this.list().filter((record) => !isSpent(record, nowWallMs)).map(recordKey).toSorted();
    return createHash("sha256").update(keys.join("\n")).digest("hex").slice(0, 16);
  }

  forgottenIds(): NodeId[] {
    return this.list().flatMap((record) => (record.kind === "forgotten" ? [record.nodeId] : []));
  }

  isForgotten(node: NodeId): boolean { return this.#records.has(`forgotten.${node}`); }

  /** @param keySha256 of the public key (SPKI, DER) in the peer's certificate, lower-case hex. */
  isMember(node: NodeId, keySha256: string): boolean {
    const record = this.#records.get(`member.${node}.${keySha256.slice(0, 16)}`);
    return record?.kind === "member" && record.keySha256 === keySha256 && !this.isForgotten(node);
  }

  /** Everyone admitted and not forgotten. */
  members(): MemberRecord[] {
    return this.list().filter((record) => record.kind === "member").filter((record) => !this.isForgotten(record.nodeId));
  }

  tokens(): { readonly token: TokenRecord; readonly end: TokenEndRecord | undefined }[] {
    return this.list().filter((record) => record.kind === "token").map((token) => ({ token, end: this.tokenEnd(token.tokenId) }));
  }

  token(tokenId: string): TokenRecord | undefined {
    const record = this.#records.get(`token.${tokenId}`);
    return record?.kind === "token" ? record : undefined;
  }

  tokenEnd(tokenId: string): TokenEndRecord | undefined {
    const record = this.#records.get(`token-end.${tokenId}`);
    return record?.kind === "token-end" ? record : undefined;
  }

  /** @throws MinidError limit_reached when another record of this kind would pass its bound. */
  assertRoomFor(kind: "member" | "forgotten" | "token"): void {
    const [count, max, remedy] = kind === "member" ? [this.members().length, membersMax, "forget machines that are gone with `minid forget`"]
      : kind === "token" ? [this.tokens().length, tokensMax, "let tokens expire: make them with a shorter --ttl"]
      : [this.list().filter((record) => record.kind === "forgotten").length, forgottenMax, "found a new cluster"];
    if (count >= max) throw new MinidError("limit_reached", `the cluster already has ${count} ${kind} records, its bound: ${remedy}.`);
  }
}
