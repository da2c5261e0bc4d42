/**
 * What a cluster's members know about trust, as a grow-only set of immutable records: who was admitted (node id and key), who
 * was forgotten, which join tokens and API keys were made and which of them have ended. Two sets merge by union, so any member can
 * write, in any order, over any partition, and all end up with the same set.
 *
 * Invariants: a record never changes once written; what ends (a token, a membership) ends by a second record, which wins over
 * the first whatever the order of arrival. A node is a member only when a record admits that very key and none forgets it.
 * A certificate alone is not enough: every member once held the CA's key, so a forgotten one could sign itself a new one.
 *
 * Secrets never appear here: a token and a key are kept as a one-way hash of their secret.
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
/** Revoked ones included: what ended must be remembered, or a member that was away would bring it back. */
export const keysMax = 1_024;
/** How long the traces of a token or key outlive its expiry, so that a member with a slow clock does not bring it back. */
const tokenGraceMs = 24 * 3_600_000;

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`, "u"), `${bytes * 2} hexadecimal digits`);
const id = hex(16).transform(nodeId);
const wallMs = z.number().int().nonnegative().max(8.64e15);

const memberRecord = z.object({ kind: z.literal("member"), nodeId: id, keySha256: hex(32), deviceId: z.string().max(63), by: id, atMs: wallMs });
const forgottenRecord = z.object({ kind: z.literal("forgotten"), nodeId: id, by: id, atMs: wallMs });
const tokenRecord = z.object({ kind: z.literal("token"), tokenId: hex(8), verifier: hex(32), once: z.boolean(), createdAtMs: wallMs, expiresAtMs: wallMs, by: id });
const tokenEndRecord = z.object({ kind: z.literal("token-end"), tokenId: hex(8), reason: z.enum(["revoked", "used"]), usedBy: id.optional(), expiresAtMs: wallMs, by: id, atMs: wallMs });

/** What the holder of an API key may do. `admin` includes the others. */
export const keyScopes = ["inference", "read-only", "admin"] as const;
const perMinute = z.number().int().min(1).max(1_000_000_000);
/** A key's own limits; where it has none, the configuration's hold. */
const keyLimits = z.object({ concurrentRequests: z.number().int().min(1).max(10_000).optional(), requestsPerMinute: perMinute.optional(), tokensPerMinute: perMinute.optional() });
const keyRecord = z.object({
  kind: z.literal("key"), keyId: hex(8), verifier: hex(32), name: z.string().min(1).max(63), scopes: z.array(z.enum(keyScopes)).min(1).max(keyScopes.length),
  limits: keyLimits.optional(), createdAtMs: wallMs, expiresAtMs: wallMs.optional(), by: id,
});
const keyEndRecord = z.object({ kind: z.literal("key-end"), keyId: hex(8), expiresAtMs: wallMs.optional(), by: id, atMs: wallMs });

export const trustRecordSchema = z.discriminatedUnion("kind", [memberRecord, forgottenRecord, tokenRecord, tokenEndRecord, keyRecord, keyEndRecord]);
export type TrustRecord = z.output<typeof trustRecordSchema>;
export type MemberRecord = z.output<typeof memberRecord>;
export type TokenRecord = z.output<typeof tokenRecord>;
export type TokenEndRecord = z.output<typeof tokenEndRecord>;
export type KeyScope = (typeof keyScopes)[number];
export type KeyLimits = z.output<typeof keyLimits>;
export type KeyRecord = z.output<typeof keyRecord>;
export type KeyEndRecord = z.output<typeof keyEndRecord>;

/** The record's name in the set and on disk; two records of one key say the same thing. */
export function recordKey(record: TrustRecord): string {
  switch (record.kind) {
    case "member": return `member.${record.nodeId}.${record.keySha256.slice(0, 16)}`;
    case "forgotten": return `forgotten.${record.nodeId}`;
    case "token": return `token.${record.tokenId}`;
    case "token-end": return `token-end.${record.tokenId}`;
    case "key": return `key.${record.keyId}`;
    case "key-end": return `key-end.${record.keyId}`;
    default: return unreachable(record);
  }
}

/** True once nobody needs the record any more: the traces of a token or key, some time after it expired. */
export function isSpent(record: TrustRecord, nowWallMs: number): boolean {
  return "expiresAtMs" in record && record.expiresAtMs !== undefined && nowWallMs > record.expiresAtMs + tokenGraceMs;
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

  keys(): { readonly key: KeyRecord; readonly end: KeyEndRecord | undefined }[] {
    return this.list().filter((record) => record.kind === "key").map((key) => ({ key, end: this.keyEnd(key.keyId) }));
  }

  key(keyId: string): KeyRecord | undefined {
    const record = this.#records.get(`key.${keyId}`);
    return record?.kind === "key" ? record : undefined;
  }

  keyEnd(keyId: string): KeyEndRecord | undefined {
    const record = this.#records.get(`key-end.${keyId}`);
    return record?.kind === "key-end" ? record : undefined;
  }

  /** @throws MinidError limit_reached when another record of this kind would pass its bound. */
  assertRoomFor(kind: "member" | "forgotten" | "token" | "key"): void {
    const [count, max, remedy] = kind === "member" ? [this.members().length, membersMax, "forget machines that are gone with `minid forget`"]
      : kind === "token" ? [this.tokens().length, tokensMax, "let tokens expire: make them with a shorter --ttl"]
      : kind === "key" ? [this.keys().length, keysMax, "make keys with a --ttl: those that expired make room, those that were revoked do not"]
      : [this.list().filter((record) => record.kind === "forgotten").length, forgottenMax, "found a new cluster"];
    if (count >= max) throw new MinidError("limit_reached", `the cluster already has ${count} ${kind} records, its bound: ${remedy}.`);
  }
}
