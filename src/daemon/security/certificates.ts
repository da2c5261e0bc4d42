/**
 * Makes and signs X.509: the cluster's CA, a node's key, its signing request, its certificate. ECDSA P-256 throughout: every
 * TLS stack has it. Knows nothing of files, tokens or policy.
 *
 * The X.509 library costs 15 MB and 150 ms, and is needed at a join and once in twenty days: it is loaded when first used.
 */
import { X509Certificate as NodeCertificate, createHash, createPrivateKey, webcrypto } from "node:crypto";
import { MinidError } from "../../core/errors.js";
import type { NodeId } from "../../core/ids.js";
import { peerName } from "../../core/transport.js";
import { anyMemberName } from "../../core/trust/peer.js";

const dayMs = 24 * 3_600_000;
export const certificateLifeMs = 30 * dayMs;
const caLifeMs = 20 * 365 * dayMs;
/** Certificates count from a day ago: machines' clocks differ. */
const clockSkewMs = dayMs;
const csrBytesMax = 4_096;
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

const loadX509 = async () => {
  await import("reflect-metadata");
  return import("@peculiar/x509");
};

export interface KeyAndCertificate {
  /** PEM (PKCS #8). */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString("base64").replace(/(.{64})(?!$)/gu, "$1\n")}\n-----END ${label}-----\n`;

/** A new private key, PEM (PKCS #8). */
export async function createKey(): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  return pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
}

async function importKeys(key: string): Promise<webcrypto.CryptoKeyPair> {
  const secret = createPrivateKey(key);
  const privateKey = await webcrypto.subtle.importKey("pkcs8", secret.export({ type: "pkcs8", format: "der" }), algorithm, true, ["sign"]);
  const { d: _secret, ...publicPart } = secret.export({ format: "jwk" });
  const publicKey = await webcrypto.subtle.importKey("jwk", { ...publicPart, key_ops: ["verify"] }, algorithm, true, ["verify"]);
  return { privateKey, publicKey };
}

/** A new CA for a new cluster. */
export async function createCa(clusterId: string, nowWallMs: number): Promise<KeyAndCertificate> {
  const x509 = await loadX509();
  const key = await createKey();
  const keys = await importKeys(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=minid cluster ${clusterId}`,
    keys,
    notBefore: new Date(nowWallMs - clockSkewMs),
    notAfter: new Date(nowWallMs + caLifeMs),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key, certificate: `${certificate.toString("pem")}\n` };
}

/** @returns DER. Names in it are ignored by the signer: only the key counts, and the proof that the asker holds it. */
export async function createSigningRequest(key: string, node: NodeId): Promise<Buffer> {
  const x509 = await loadX509();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: `CN=${peerName(node)}`, keys: await importKeys(key), signingAlgorithm: algorithm });
  return Buffer.from(request.rawData);
}

export interface Subject {
  readonly nodeId: NodeId;
  readonly clusterId: string;
}

/**
 * Signs a node's certificate.
 * @param request DER, from outside.
 * @returns the certificate and the CA's behind it, PEM; and the hash that trust records know the key by.
 * @throws MinidError invalid_value when the request is not a sound one for a P-256 key.
 */
export async function signRequest(request: Uint8Array, subject: Subject, ca: KeyAndCertificate, nowWallMs: number): Promise<{ certificate: string; keySha256: string }> {
  const refuse = (why: string, cause?: unknown) => new MinidError("invalid_value", `csr: ${why}`, { param: "csr", cause });
  if (request.length === 0 || request.length > csrBytesMax) throw refuse(`${request.length} bytes; expected 1 to ${csrBytesMax}`);
  const x509 = await loadX509();
  let spki: ArrayBuffer;
  try {
    const parsed = new x509.Pkcs10CertificateRequest(Uint8Array.from(request));
    const { namedCurve } = parsed.publicKey.algorithm as { readonly namedCurve?: string };
    if (namedCurve !== algorithm.namedCurve) throw new Error("the key is not ECDSA P-256");
    if (!(await parsed.verify())) throw new Error("its signature is wrong");
    spki = parsed.publicKey.rawData;
  } catch (error) { throw refuse(error instanceof Error ? error.message : "cannot be read", error); }
  const publicKey = await webcrypto.subtle.importKey("spki", spki, algorithm, true, ["verify"]);
  const { privateKey: signingKey } = await importKeys(ca.key);
  const issuer = new x509.X509Certificate(ca.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${peerName(subject.nodeId)}`,
    issuer: issuer.subject,
    notBefore: new Date(nowWallMs - clockSkewMs),
    notAfter: new Date(nowWallMs + certificateLifeMs),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: peerName(subject.nodeId) }, { type: "dns", value: anyMemberName(subject.clusterId) }]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return { certificate: `${certificate.toString("pem")}\n${ca.certificate}`, keySha256: createHash("sha256").update(Buffer.from(spki)).digest("hex") };
}

/** SHA-256 of a certificate (the first of the PEM), lower-case hex. */
export const fingerprintOf = (certificate: string | Buffer): string => createHash("sha256").update(new NodeCertificate(certificate).raw).digest("hex");
