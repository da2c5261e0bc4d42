/**
 * Making, listing and ending join tokens, in the files of a home: no running agent is needed, and one that runs sees the change
 * within a second and tells the other members. The line that `createToken` returns is the only place where the secret is ever.
 */
import { readFile } from "node:fs/promises";
import { type Clock, systemClock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import type { NodeId } from "../../core/ids.js";
import { type Trust, homeFiles, withTrust, writeRecord } from "../../core/trust/trust.js";
import { fingerprintOf } from "./certificates.js";
import { encodeToken, newSecret, tokenIdOf, verifierOf } from "./token.js";

export const tokenTtlDefaultMs = 24 * 3_600_000;
const tokenTtlMinMs = 60_000;
const tokenTtlMaxMs = 30 * 24 * 3_600_000;

export interface TokenOptions {
  /** Default `tokenTtlDefaultMs`; from a minute to thirty days. */
  readonly ttlMs?: number;
  /** Lets one machine in. Members that cannot reach each other may each let in one. */
  readonly once?: boolean;
  /** Where members can be reached, host:port: tried first, so that a join needs no multicast. */
  readonly hints?: readonly string[];
  readonly clock?: Clock;
}

export interface TokenSummary {
  readonly tokenId: string;
  readonly state: "active" | "expired" | "revoked" | "used";
  readonly once: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** The machine that used a token of `once`. */
  readonly usedBy?: NodeId;
}

/** @returns the line to carry to the new machine. A secret: show it once, log it never. */
export async function createToken(home: string, options: TokenOptions = {}): Promise<{ readonly line: string; readonly tokenId: string; readonly expiresAtMs: number }> {
  const ttlMs = options.ttlMs ?? tokenTtlDefaultMs;
  if (!(ttlMs >= tokenTtlMinMs && ttlMs <= tokenTtlMaxMs)) throw new MinidError("invalid_value", `ttl is ${ttlMs} ms: give from 60 seconds to 30 days.`, { param: "ttl" });
  const createdAtMs = (options.clock ?? systemClock).wallMs();
  const expiresAtMs = Math.floor((createdAtMs + ttlMs) / 1_000) * 1_000;
  return withTrust(home, async (trust) => {
    trust.records.assertRoomFor("token");
    const secret = newSecret();
    const tokenId = tokenIdOf(secret);
    const caSha256 = fingerprintOf(await readFile(homeFiles(home).ca));
    await writeRecord(home, { kind: "token", tokenId, verifier: verifierOf(secret), once: options.once ?? false, createdAtMs, expiresAtMs, by: trust.nodeId });
    return { line: encodeToken({ clusterId: trust.cluster.clusterId, caSha256, secret, expiresAtMs, hints: options.hints ?? [] }), tokenId, expiresAtMs };
  });
}

/** Newest first. */
export async function listTokens(home: string, clock: Clock = systemClock): Promise<TokenSummary[]> {
  return withTrust(home, (trust) => Promise.resolve(summarize(trust, clock.wallMs())));
}

/** Idempotent. @param tokenId or an unambiguous beginning of it. @throws MinidError not_found */
export async function revokeToken(home: string, tokenId: string, clock: Clock = systemClock): Promise<TokenSummary> {
  return withTrust(home, async (trust) => {
    const matching = tokenId === "" ? [] : summarize(trust, clock.wallMs()).filter((token) => token.tokenId.startsWith(tokenId));
    const [token] = matching;
    if (!token || matching.length > 1) throw new MinidError("not_found", `${matching.length} tokens have an id that begins with the one given: list them with \`minid token list\`.`);
    if (token.state === "active" || token.state === "expired") {
      await writeRecord(home, { kind: "token-end", tokenId: token.tokenId, reason: "revoked", expiresAtMs: token.expiresAtMs, by: trust.nodeId, atMs: clock.wallMs() });
    }
    return { ...token, state: token.state === "used" ? "used" : "revoked" };
  });
}

function summarize(trust: Trust, nowWallMs: number): TokenSummary[] {
  return trust.records.tokens().toSorted((a, b) => b.token.createdAtMs - a.token.createdAtMs).map(({ token, end }) => ({
    tokenId: token.tokenId,
    state: end?.reason ?? (nowWallMs > token.expiresAtMs ? "expired" as const : "active" as const),
    once: token.once,
    createdAtMs: token.createdAtMs,
    expiresAtMs: token.expiresAtMs,
    ...(end?.usedBy === undefined ? {} : { usedBy: end.usedBy }),
  }));
}
