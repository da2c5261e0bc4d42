/**
 * Who is on the other end of a TLS connection: a pure judgement over its certificate. TLS has checked the chain before; here
 * come the cluster's own rules: the name, the dates (again: a resumed session is not checked), and the membership records.
 */
import { X509Certificate, createHash } from "node:crypto";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { type NodeId, nodeId } from "../ids.js";
import type { TrustSet } from "./records.js";

const nodeName = /(?:^|, )DNS:([0-9a-f]{32})\.minid(?:,|$)/u;

/** The name that every member's certificate carries besides its own: what a joiner, who knows no node id yet, dials. */
export const anyMemberName = (clusterId: string): string => `member.${clusterId}.minid`;

export const keySha256Of = (certificate: X509Certificate): string =>
  createHash("sha256").update(certificate.publicKey.export({ type: "spki", format: "der" })).digest("hex");

/** The node id in a certificate's alternative names, or undefined when it is not a node's. */
export function nodeIdOf(certificate: X509Certificate): NodeId | undefined {
  const id = nodeName.exec(certificate.subjectAltName ?? "")?.[1];
  return id === undefined ? undefined : nodeId(id);
}

export type Judgement =
  | { readonly kind: "member"; readonly nodeId: NodeId; readonly expiresAtMs: number }
  /** Showed no certificate at all: may ask to join, nothing else. */
  | { readonly kind: "stranger" }
  | { readonly kind: "refused"; readonly reason: "untrusted" | "expired" | "nameless" | "forgotten" | "unknown"; readonly nodeId?: NodeId };

/**
 * @param certificate what the peer showed.
 * @param chainTrusted whether TLS found it signed by our CA and within its dates.
 */
export function judgePeer(certificate: X509Certificate | undefined, chainTrusted: boolean, records: TrustSet, nowWallMs: number): Judgement {
  if (!certificate) return { kind: "stranger" };
  const expiresAtMs = Date.parse(certificate.validTo);
  if (nowWallMs > expiresAtMs || nowWallMs < Date.parse(certificate.validFrom)) return { kind: "refused", reason: "expired" };
  if (!chainTrusted) return { kind: "refused", reason: "untrusted" };
  const id = nodeIdOf(certificate);
  if (id === undefined) return { kind: "refused", reason: "nameless" };
  if (records.isForgotten(id)) return { kind: "refused", reason: "forgotten", nodeId: id };
  if (!records.isMember(id, keySha256Of(certificate))) return { kind: "refused", reason: "unknown", nodeId: id };
  return { kind: "member", nodeId: id, expiresAtMs };
}

export const certificateOf = (socket: TLSSocket): X509Certificate | undefined => socket.getPeerX509Certificate();

/** The calling node's id on the server side; undefined for a caller without a certificate, or over a transport that is not TLS. */
export function callerOf(call: { getAuthContext(): { readonly sslPeerCertificate?: PeerCertificate } }): NodeId | undefined {
  const raw = call.getAuthContext().sslPeerCertificate?.raw;
  return raw ? nodeIdOf(new X509Certificate(raw)) : undefined;
}
