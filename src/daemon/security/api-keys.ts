/**
 * API keys: what opens the HTTP API to callers from other machines. Made, listed and ended in the files of a home, like join tokens,
 * so no running agent is needed; an agent that runs sees the change within a second, and the other members with the next heartbeats.
 *
 *   sk-minid-<48 hexadecimal digits: a secret of 192 random bits>
 *
 * The key itself is shown once and kept nowhere: the record has two one-way hashes of the secret, an id to find it by and a
 * verifier to compare. A fast hash is enough for so many random bits, and costs a request microseconds.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { type Clock, systemClock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import type { KeyLimits, KeyRecord, KeyScope } from "../../core/trust/records.js";
import { type Trust, withTrust, writeRecord } from "../../core/trust/trust.js";

const prefix = "sk-minid-";
const secretBytes = 24;
const pattern = new RegExp(`^${prefix}([0-9a-f]{${2 * secretBytes}})$`, "u");
const ttlMinMs = 60_000;
const ttlMaxMs = 10 * 365 * 24 * 3_600_000;
const nameCharsMax = 63;

const hash = (purpose: string, secret: Uint8Array): Buffer => createHash("sha256").update(`minid api key ${purpose}\0`).update(secret).digest();
const idOf = (secret: Uint8Array): string => hash("id", secret).subarray(0, 8).toString("hex");

/** A key that may be used now. */
export interface ApiKey {
  readonly keyId: string;
  readonly name: string;
  readonly scopes: readonly KeyScope[];
  readonly limits: KeyLimits;
}

export interface KeyDirectory {
  /** @returns undefined for a text that is no key, or one that is unknown, revoked or expired. */
  find(text: string): ApiKey | undefined;
}

/** Compared with when no record has the id, so that a miss takes as long as a hit. */
const nobody = Buffer.alloc(32);

/** The keys of a running agent's trust. */
export function trustedKeys(trust: Trust, clock: Clock): KeyDirectory {
  return {
    find(text) {
      const secret = secretOf(text);
      if (!secret) return undefined;
      const keyId = idOf(secret);
      // Made a moment ago by a command in this home; looked for again at a bounded rate.
      if (!trust.records.key(keyId)) trust.refreshForUnknown();
      const record = trust.records.key(keyId);
      const same = timingSafeEqual(hash("verifier", secret), record ? Buffer.from(record.verifier, "hex") : nobody);
      if (!record || !same || stateOf(record, trust.records.keyEnd(keyId) !== undefined, clock.wallMs()) !== "active") return undefined;
      return { keyId, name: record.name, scopes: record.scopes, limits: record.limits ?? {} };
    },
  };
}

function secretOf(text: string): Buffer | undefined {
  const digits = pattern.exec(text)?.[1];
  return digits === undefined ? undefined : Buffer.from(digits, "hex");
}

export interface KeyOptions {
  readonly name?: string;
  /** Default: inference. */
  readonly scopes?: readonly KeyScope[];
  readonly limits?: KeyLimits;
  /** Default: the key does not expire. */
  readonly ttlMs?: number;
  readonly clock?: Clock;
}

export interface KeySummary {
  readonly keyId: string;
  readonly name: string;
  readonly state: "active" | "expired" | "revoked";
  readonly scopes: readonly KeyScope[];
  readonly limits: KeyLimits;
  readonly createdAtMs: number;
  readonly expiresAtMs?: number;
}

/** @returns the key to hand out. A secret: show it once, log it never. @throws MinidError invalid_value | limit_reached | no_cluster */
export async function createKey(home: string, options: KeyOptions = {}): Promise<KeySummary & { readonly key: string }> {
  const { name = "key", scopes = ["inference"], limits, ttlMs, clock = systemClock } = options;
  if (name.length === 0 || name.length > nameCharsMax || /[\p{Cc}\p{Cf}]/u.test(name)) throw new MinidError("invalid_value", `name is ${JSON.stringify(name)}: give 1 to ${nameCharsMax} printable characters.`, { param: "name" });
  if (ttlMs !== undefined && !(ttlMs >= ttlMinMs && ttlMs <= ttlMaxMs)) throw new MinidError("invalid_value", `ttl is ${ttlMs} ms: give from a minute to ten years, or leave it out for a key that does not expire.`, { param: "ttl" });
  return withTrust(home, async (trust) => {
    trust.records.assertRoomFor("key");
    const secret = randomBytes(secretBytes);
    const createdAtMs = clock.wallMs();
    const record: KeyRecord = {
      kind: "key", keyId: idOf(secret), verifier: hash("verifier", secret).toString("hex"), name, scopes: [...new Set(scopes)],
      ...(limits && { limits }), createdAtMs, ...(ttlMs !== undefined && { expiresAtMs: createdAtMs + ttlMs }), by: trust.nodeId,
    };
    await writeRecord(home, record);
    return { ...summaryOf(record, false, createdAtMs), key: prefix + secret.toString("hex") };
  });
}

/** Newest first. */
export async function listKeys(home: string, clock: Clock = systemClock): Promise<KeySummary[]> {
  return withTrust(home, (trust) => Promise.resolve(summaries(trust, clock.wallMs())));
}

/**
 * From then on the key is refused here, and on the other members within about a second of hearing. Answers that it began go on to their end. Idempotent.
 * @param which the key's id, an unambiguous beginning of it, or the key itself. @throws MinidError not_found
 */
export async function revokeKey(home: string, which: string, clock: Clock = systemClock): Promise<KeySummary> {
  return withTrust(home, async (trust) => {
    const secret = secretOf(which);
    const wanted = secret ? idOf(secret) : which;
    const matching = wanted === "" ? [] : trust.records.keys().filter(({ key }) => key.keyId.startsWith(wanted));
    const [found] = matching;
    if (!found || matching.length > 1) throw new MinidError("not_found", `${matching.length} keys have an id that begins with the one given: list them with \`minid key list\`.`);
    const { keyId, expiresAtMs } = found.key;
    await writeRecord(home, { kind: "key-end", keyId, ...(expiresAtMs !== undefined && { expiresAtMs }), by: trust.nodeId, atMs: clock.wallMs() });
    return summaryOf(found.key, true, clock.wallMs());
  });
}

const summaries = (trust: Trust, nowWallMs: number): KeySummary[] =>
  trust.records.keys().toSorted((a, b) => b.key.createdAtMs - a.key.createdAtMs).map(({ key, end }) => summaryOf(key, end !== undefined, nowWallMs));

const stateOf = (key: KeyRecord, revoked: boolean, nowWallMs: number): KeySummary["state"] =>
  revoked ? "revoked" : key.expiresAtMs !== undefined && nowWallMs > key.expiresAtMs ? "expired" : "active";

function summaryOf(key: KeyRecord, revoked: boolean, nowWallMs: number): KeySummary {
  const { keyId, name, scopes, limits = {}, createdAtMs, expiresAtMs } = key;
  return { keyId, name, state: stateOf(key, revoked, nowWallMs), scopes, limits, createdAtMs, ...(expiresAtMs !== undefined && { expiresAtMs }) };
}
