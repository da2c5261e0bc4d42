import { X509Certificate, createHash, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { nodeId } from "../../../../src/core/ids.js";
import { judgePeer, keySha256Of, nodeIdOf } from "../../../../src/core/trust/peer.js";
import { TrustSet } from "../../../../src/core/trust/records.js";
import { type KeyAndCertificate, certificateLifeMs, createCa, createKey, createSigningRequest, signRequest } from "../../../../src/daemon/security/certificates.js";
import { isRenewalDue } from "../../../../src/daemon/security/renewer.js";

const clusterId = "c1".repeat(16);
const id = nodeId("aa".repeat(16));
const dayMs = 24 * 3_600_000;
const now = Date.parse("2026-11-23T12:00:00Z");
const admitted = (keySha256: string) => new TrustSet([{ kind: "member", nodeId: id, keySha256, deviceId: "mini", by: id, atMs: 0 }]);

let ca: KeyAndCertificate;
let key: string;
let certificate: X509Certificate;
let keySha256: string;
beforeAll(async () => {
  ca = await createCa(clusterId, now);
  key = await createKey();
  const signed = await signRequest(await createSigningRequest(key, id), { nodeId: id, clusterId }, ca, now);
  certificate = new X509Certificate(signed.certificate);
  keySha256 = signed.keySha256;
});

describe("a node's certificate", () => {
  it("is signed by the CA for the node's own key, with its name and the cluster's, and may sign nothing itself", () => {
    expect(certificate.verify(new X509Certificate(ca.certificate).publicKey)).toBe(true);
    expect(certificate.publicKey.equals(createPublicKey(key))).toBe(true);
    expect(certificate.subjectAltName).toBe(`DNS:${id}.minid, DNS:member.${clusterId}.minid`);
    expect(certificate.ca).toBe(false);
    expect(nodeIdOf(certificate)).toBe(id);
    expect(keySha256Of(certificate)).toBe(keySha256);
    expect(Date.parse(certificate.validTo)).toBe(now + certificateLifeMs);
  });

  it("is due for renewal after two thirds of its life, and when the clock was wrong as it was made", () => {
    expect(isRenewalDue(certificate, now)).toBe(false);
    expect(isRenewalDue(certificate, now + 19 * dayMs)).toBe(false);
    expect(isRenewalDue(certificate, now + 20 * dayMs)).toBe(true);
    expect(isRenewalDue(certificate, now + 400 * dayMs)).toBe(true);
    expect(isRenewalDue(certificate, now - 400 * dayMs)).toBe(true);
  });

  it.each([
    ["empty", async () => Buffer.alloc(0)],
    ["random bytes", async () => randomBytes(300)],
    ["huge", async () => randomBytes(100_000)],
    ["changed after it was signed", async () => { const request = await createSigningRequest(key, id); const at = request.indexOf("aaaa"); request[at] = 0x62; return request; }],
  ])("is not made for a request that is %s", async (_how, make) => {
    await expect(signRequest(await make(), { nodeId: id, clusterId }, ca, now)).rejects.toMatchObject({ code: "invalid_value", param: "csr" });
  });

  it("is not made for another kind of key", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    await expect(createSigningRequest(privateKey.export({ type: "pkcs8", format: "pem" }).toString(), id).then((request) => signRequest(request, { nodeId: id, clusterId }, ca, now))).rejects.toThrow();
  });
});

describe("the judgement of a peer", () => {
  const judge = (records: TrustSet, atMs = now, trusted = true) => { const judgement = judgePeer(certificate, trusted, records, atMs); return judgement.kind === "refused" ? judgement.reason : judgement.kind; };

  it("lets in a member with the admitted key, within the certificate's dates", () => {
    expect(judgePeer(certificate, true, admitted(keySha256), now)).toEqual({ kind: "member", nodeId: id, expiresAtMs: now + certificateLifeMs });
  });

  it("refuses everything else by name", () => {
    expect(judge(admitted(keySha256), now + 31 * dayMs)).toBe("expired");
    expect(judge(admitted(keySha256), now - 2 * dayMs)).toBe("expired");
    expect(judge(admitted(keySha256), now, false)).toBe("untrusted");
    expect(judge(TrustSet.empty)).toBe("unknown");
    expect(judge(admitted(createHash("sha256").update("another key").digest("hex")))).toBe("unknown");
    expect(judge(admitted(keySha256).with([{ kind: "forgotten", nodeId: id, by: id, atMs: 0 }]))).toBe("forgotten");
    const caItself = judgePeer(new X509Certificate(ca.certificate), true, admitted(keySha256), now);
    expect(caItself).toMatchObject({ kind: "refused", reason: "nameless" });
    expect(judgePeer(undefined, false, admitted(keySha256), now)).toEqual({ kind: "stranger" });
  });
});
