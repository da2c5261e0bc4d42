/**
 * A join token: one line that a person carries from a member to a new machine. It names the cluster and its CA, so that the
 * joiner knows whom to believe, and holds a secret, so that the member knows whom to let in. The secret itself is never sent:
 * both sides prove it with an HMAC that is bound to the server's certificate, so that what one member is shown is of no use
 * before another. Members keep a one-way hash (`verifier`) of it and nothing else.
 *
 *   minid1.<base64url of: cluster id 16 | SHA-256 of the CA certificate 32 | secret 20 | expiry, Unix seconds 4 | hints, UTF-8 | check 4>
 *
 * The hints are addresses where a member was reachable when the token was made: not secret, and only tried first.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { MinidError } from "../../core/errors.js";
import type { NodeId } from "../../core/ids.js";

const prefix = "minid1.";
const secretBytes = 20;
const fixedBytes = 16 + 32 + secretBytes + 4;
const checkBytes = 4;
const lineCharsMax = 1_024;
/** What a line of that length leaves for them, in base64. */
const hintBytesMax = Math.floor((lineCharsMax - prefix.length) * 3 / 4) - fixedBytes - checkBytes;
const hintsMax = 4;

export interface JoinToken {
  readonly clusterId: string;
  /** SHA-256 of the CA certificate, lower-case hex. */
  readonly caSha256: string;
  readonly secret: Buffer;
  /** Unix milliseconds, whole seconds. */
  readonly expiresAtMs: number;
  /** host:port */
  readonly hints: readonly string[];
}

const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const newSecret = (): Buffer => randomBytes(secretBytes);

/** What a token is called in lists, logs and records: tells nothing of the secret. */
export const tokenIdOf = (secret: Uint8Array): string => sha256("minid token id\0", secret).subarray(0, 8).toString("hex");
/** What members keep of the secret, hex. The secret has 160 random bits, so a fast hash is enough. */
export const verifierOf = (secret: Uint8Array): string => sha256("minid token verifier\0", secret).toString("hex");

/** Hints that would make the line too long to be taken again are left out. */
export function encodeToken(token: JoinToken): string {
  const expiry = Buffer.alloc(4);
  expiry.writeUInt32BE(Math.floor(token.expiresAtMs / 1_000));
  const body = Buffer.concat([Buffer.from(token.clusterId, "hex"), Buffer.from(token.caSha256, "hex"), token.secret, expiry, Buffer.from(fitting(token.hints).join(","), "utf8")]);
  return prefix + Buffer.concat([body, sha256(prefix, body).subarray(0, checkBytes)]).toString("base64url");
}

function fitting(hints: readonly string[]): string[] {
  const taken: string[] = [];
  for (const hint of hints) if (taken.length < hintsMax && Buffer.byteLength([...taken, hint].join(",")) <= hintBytesMax) taken.push(hint);
  return taken;
}

/** @throws MinidError join_refused, which never repeats the text: it may be a secret. */
export function decodeToken(line: string): JoinToken {
  const text = line.trim();
  const refuse = (why: string) => new MinidError("join_refused", `the join token ${why}: copy the whole line that \`minid token\` printed.`);
  if (!text.startsWith(prefix)) throw refuse(`does not begin with ${prefix}`);
  if (text.length > lineCharsMax) throw refuse(`is longer than ${lineCharsMax} characters`);
  const bytes = Buffer.from(text.slice(prefix.length), "base64url");
  if (bytes.length < fixedBytes + checkBytes) throw refuse("is cut short");
  const body = bytes.subarray(0, bytes.length - checkBytes);
  if (!timingSafeEqual(bytes.subarray(body.length), sha256(prefix, body).subarray(0, checkBytes))) throw refuse("has a wrong or missing character");
  const hints = body.subarray(fixedBytes).toString("utf8");
  return {
    clusterId: body.subarray(0, 16).toString("hex"),
    caSha256: body.subarray(16, 48).toString("hex"),
    secret: Buffer.from(body.subarray(48, 48 + secretBytes)),
    expiresAtMs: body.readUInt32BE(48 + secretBytes) * 1_000,
    hints: hints === "" ? [] : hints.split(",").slice(0, hintsMax),
  };
}

/** Each part is preceded by its length, so that no two different lists have the same bytes. */
function hmac(verifier: string, purpose: string, parts: readonly (string | Uint8Array)[]): Buffer {
  const mac = createHmac("sha256", Buffer.from(verifier, "hex")).update(`minid ${purpose}\0`);
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part, "utf8") : part;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    mac.update(length).update(bytes);
  }
  return mac.digest();
}

export interface JoinClaim {
  /** SHA-256 of the certificate that the server showed on this connection, hex. */
  readonly serverSha256: string;
  readonly nodeId: NodeId;
  readonly deviceId: string;
  readonly csr: Uint8Array;
}

/** The joiner's proof: binds the secret to this server, this name and this key. */
export const joinProof = (verifier: string, claim: JoinClaim): Buffer => hmac(verifier, "join", [claim.serverSha256, claim.nodeId, claim.deviceId, claim.csr]);
/** The member's proof: the certificate and CA come from somebody who holds the same token. */
export const admitProof = (verifier: string, claim: JoinClaim, certificate: string, ca: string): Buffer => hmac(verifier, "admit", [claim.serverSha256, claim.nodeId, claim.csr, certificate, ca]);

export const sameProof = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
