import { readFile, rm, writeFile } from "node:fs/promises";
import { X509Certificate } from "node:crypto";
import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";
import grpc from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { createLog } from "../../src/core/log.js";
import { loadTransport, peerName } from "../../src/core/transport.js";
import { anyMemberName } from "../../src/core/trust/peer.js";
import { writeRecord, homeFiles } from "../../src/core/trust/trust.js";
import { currentCluster, readCa } from "../../src/daemon/identity/cluster.js";
import { createKey, createSigningRequest, signRequest } from "../../src/daemon/security/certificates.js";
import { forgetDevice } from "../../src/daemon/security/forget.js";
import { joinCluster } from "../../src/daemon/security/join.js";
import { RateLimiter } from "../../src/daemon/security/rate-limit.js";
import { renewIfDue } from "../../src/daemon/security/renewer.js";
import { createToken, listTokens, revokeToken } from "../../src/daemon/security/tokens.js";
import { decodeToken, encodeToken, newSecret } from "../../src/daemon/security/token.js";
import { Lab, host, statusOf } from "../support/member.js";
import { until } from "../support/wait.js";

const lab = new Lab();
afterEach(() => lab.clean());

const generous = () => new RateLimiter({ burst: 100, perSecond: 100 }, { burst: 100, perSecond: 100 });
const dayMs = 24 * 3_600_000;
const { UNAVAILABLE, UNAUTHENTICATED, PERMISSION_DENIED, OK } = grpc.status;

/** A home that was never admitted, or whose admission got lost: its identity and key, and nothing of the cluster. */
async function leaveOnlyTheKey(home: string): Promise<void> {
  const { cluster: announced, tls, ca, caKey, certificate, trust } = homeFiles(home);
  for (const path of [announced, `${tls}/cluster.json`, ca, caKey, certificate, trust]) await rm(path, { recursive: true, force: true });
}

/** A founder that serves, and what a joiner needs. */
async function cluster() {
  const founder = await lab.member(await lab.founder(), { limiter: generous() });
  const join = async (deviceId: string, line?: string, via = founder) => {
    const home = await lab.home();
    await joinCluster(home, line ?? (await createToken(founder.home)).line, { deviceId, candidates: () => [via.address], timeoutMs: 8_000 });
    return home;
  };
  return { founder, join };
}

describe("joining", () => {
  it("makes a machine a member that every other member lets in, and that can admit the next one", async () => {
    const { founder, join } = await cluster();
    const second = await lab.member(await join("second"), { limiter: generous() });
    await second.exchangeWith(founder);
    expect(founder.callers).toEqual([second.trust.nodeId]);

    const line = (await createToken(second.home)).line;
    const third = await lab.member(await join("third", line, second));
    expect(third.trust.cluster).toEqual(founder.trust.cluster);
    // The founder has not heard of the third one yet, and learns it from the second.
    await second.exchangeWith(founder);
    await third.exchangeWith(founder);
    await founder.exchangeWith(third);
    expect(founder.trust.records.members().map((member) => member.deviceId).toSorted()).toEqual(["founder", "second", "third"]);
    expect(new Set([founder.trust.digest, third.trust.digest]).size).toBe(1);
  });

  it("moves a machine that founded a cluster of its own, keeps what it left, and is a no-op the second time", async () => {
    const { founder } = await cluster();
    const home = await lab.founder("alone", "late");
    const left = await currentCluster(home);
    const { line } = await createToken(founder.home, { hints: [founder.address] });
    const joined = await joinCluster(home, line, { deviceId: "late", candidates: () => [] });
    expect(joined).toMatchObject({ changed: true, cluster: founder.trust.cluster });
    expect(await readFile(`${home}/former/${left?.clusterId}/ca.key`, "utf8")).toContain("PRIVATE KEY");
    expect(await joinCluster(home, line, { deviceId: "late", candidates: () => [] })).toMatchObject({ changed: false });
    expect((await readFile(`${home}/cluster.json`, "utf8"))).toContain(founder.trust.cluster.clusterId);
  });

  it("does not leave a cluster that is shared with others unless told to", async () => {
    const { founder, join } = await cluster();
    const home = await join("second");
    const other = await lab.member(await lab.founder("other"), { limiter: generous() });
    const { line } = await createToken(other.home);
    await expect(joinCluster(home, line, { deviceId: "second", candidates: () => [other.address] })).rejects.toThrow(/--leave/u);
    expect((await currentCluster(home))?.clusterId).toBe(founder.trust.cluster.clusterId);
    await joinCluster(home, line, { deviceId: "second", candidates: () => [other.address], leave: true });
    expect((await currentCluster(home))?.clusterId).toBe(other.trust.cluster.clusterId);
  });

  it("finds the one right member among dead and foreign addresses", async () => {
    const { founder } = await cluster();
    const foreign = await lab.member(await lab.founder("foreign"));
    const home = await lab.home();
    const { line } = await createToken(founder.home);
    await joinCluster(home, line, { deviceId: "x", candidates: () => [`${host}:1`, foreign.address, founder.address] });
    expect((await currentCluster(home))?.clusterId).toBe(founder.trust.cluster.clusterId);
  });

  it.each([
    ["revoked", async (home: string, tokenId: string) => { await revokeToken(home, tokenId); }, /revoked/u],
    ["used up", async (home: string, tokenId: string) => { await writeRecord(home, { kind: "token-end", tokenId, reason: "used", usedBy: loadTransport(home).trust!.nodeId, expiresAtMs: Date.now() + dayMs, by: loadTransport(home).trust!.nodeId, atMs: 0 }); }, /already used/u],
  ])("is refused with a token that was %s", async (_how, spoil, reason) => {
    const { founder, join } = await cluster();
    const token = await createToken(founder.home, { once: true });
    await spoil(founder.home, token.tokenId);
    await expect(join("late", token.line)).rejects.toThrow(reason);
  });

  it("is refused with an expired token, by the joiner's clock and by the member's", async () => {
    const { founder, join } = await cluster();
    const before = { ...systemClock, wallMs: () => Date.now() - 1.5 * dayMs };
    const token = await createToken(founder.home, { clock: before });
    await expect(join("late", token.line)).rejects.toThrow(/expired/u);
    const home = await lab.home();
    await expect(joinCluster(home, token.line, { deviceId: "late", candidates: () => [founder.address], clock: before })).rejects.toMatchObject({ code: "join_refused", message: expect.stringContaining("expired") as string });
  });

  it("lets one machine in with a token of --once, however often that one asks", async () => {
    const { founder, join } = await cluster();
    const { line } = await createToken(founder.home, { once: true });
    const home = await join("first", line);
    // Its reply was lost: the home is as before the join, with its identity.
    await leaveOnlyTheKey(home);
    await joinCluster(home, line, { deviceId: "first", candidates: () => [founder.address] });
    await expect(join("second", line)).rejects.toThrow(/already used/u);
    expect(await listTokens(founder.home)).toMatchObject([{ state: "used", once: true }]);
  });

  it("is refused with a forged secret, even when the rest of the token is right", async () => {
    const { founder } = await cluster();
    const token = decodeToken((await createToken(founder.home)).line);
    await expect(joinCluster(await lab.home(), encodeToken({ ...token, secret: newSecret() }), { deviceId: "thief", candidates: () => [founder.address], timeoutMs: 1 })).rejects.toMatchObject({ code: "join_refused" });
    expect(founder.trust.records.members()).toHaveLength(1);
  });

  it("gives nothing to an impostor: one with another CA sees no request", async () => {
    const { founder } = await cluster();
    const impostor = await lab.member(await lab.founder("lab"), { limiter: generous() });
    const { line } = await createToken(founder.home);
    await expect(joinCluster(await lab.home(), line, { deviceId: "x", candidates: () => [impostor.address], timeoutMs: 300 })).rejects.toMatchObject({ code: "join_unreachable" });
  });

  it("does not let a token take over the node id of another member", async () => {
    const { founder, join } = await cluster();
    const home = await join("second");
    const identity = await readFile(`${home}/identity.json`, "utf8");
    const thief = await lab.founder("thief");
    await writeFile(`${thief}/identity.json`, identity);
    // The thief's home claims the id with its own key.
    await leaveOnlyTheKey(thief);
    const { line } = await createToken(founder.home);
    await expect(joinCluster(thief, line, { deviceId: "thief", candidates: () => [founder.address] })).rejects.toThrow(/another key/u);
  });

  it("limits attempts and says when to come back", async () => {
    const founder = await lab.member(await lab.founder(), { limiter: new RateLimiter({ burst: 2, perSecond: 0.01 }, { burst: 100, perSecond: 1 }) });
    const token = decodeToken((await createToken(founder.home)).line);
    const attempt = async () => joinCluster(await lab.home(), encodeToken({ ...token, secret: newSecret() }), { deviceId: "x", candidates: () => [founder.address], timeoutMs: 1 });
    await expect(attempt()).rejects.toMatchObject({ code: "join_refused" });
    await expect(attempt()).rejects.toMatchObject({ code: "join_refused" });
    await expect(attempt()).rejects.toMatchObject({ code: "join_limited" });
    const good = await createToken(founder.home);
    await expect(joinCluster(await lab.home(), good.line, { deviceId: "x", candidates: () => [founder.address], timeoutMs: 1 })).rejects.toMatchObject({ code: "join_limited" });
  });

  it("writes neither tokens nor keys into any log", async () => {
    const written: string[] = [];
    const original = process.stdout.write.bind(process.stdout);
    const spy = (chunk: string | Uint8Array): boolean => { written.push(chunk.toString()); return true; };
    const records: string[] = [];
    const collect = (fields: object, message: string) => { records.push(JSON.stringify(fields) + message); };
    const log = { debug: collect, info: collect, warn: collect, error: collect, child: () => log };
    process.stdout.write = spy;
    try {
      createLog("check", "debug").info({}, "the spy works");
      const founder = await lab.member(await lab.founder(), { log, limiter: generous() });
      const { line } = await createToken(founder.home);
      await joinCluster(await lab.home(), line, { deviceId: "second", candidates: () => [founder.address] });
      await joinCluster(await lab.home(), line.slice(0, -3), { deviceId: "second", candidates: () => [founder.address] }).catch((error: unknown) => { collect({}, String(error)); });
      const forged = encodeToken({ ...decodeToken(line), secret: newSecret() });
      await joinCluster(await lab.home(), forged, { deviceId: "third", candidates: () => [founder.address], timeoutMs: 1 }).catch((error: unknown) => { collect({}, String(error)); });
      expect(records.join("\n")).toContain("admitted");
      expect(records.join("\n")).toContain("join refused");
      const everything = [...records, ...written].join("\n");
      const secrets = [line, line.slice(7), decodeToken(line).secret.toString("hex"), forged, founder.trust.records.tokens()[0]?.token.verifier ?? "none", "PRIVATE KEY", (await readFile(homeFiles(founder.home).caKey, "utf8")).split("\n")[1] ?? "none"];
      for (const secret of secrets) expect(everything.includes(secret), "a secret is in the logs").toBe(false);
    } finally { process.stdout.write = original; }
  });
});

describe("a stranger on the agent's port", () => {
  it("without a certificate reaches Join and nothing else", async () => {
    const { founder } = await cluster();
    const anyMember = anyMemberName(founder.trust.cluster.clusterId);
    const bare = grpc.credentials.createSsl(await readFile(homeFiles(founder.home).ca));
    expect(await statusOf("exchange", founder.address, bare, anyMember)).toBe(UNAUTHENTICATED);
    expect(await statusOf("generate", founder.address, bare, anyMember)).toBe(UNAUTHENTICATED);
    expect(await statusOf("join", founder.address, bare, anyMember)).toBe(PERMISSION_DENIED);
    expect(await statusOf("exchange", founder.address, grpc.credentials.createInsecure(), anyMember)).toBe(UNAVAILABLE);
    expect(founder.callers).toEqual([]);
  });

  /** Credentials whose certificate is signed as told; the CA trusted is the founder's. */
  async function credentialsOf(founder: Awaited<ReturnType<typeof cluster>>["founder"], caHome: string, options: { readonly nowMs?: number; readonly key?: string; readonly admitted?: boolean } = {}) {
    const key = options.key ?? await createKey();
    const node = founder.trust.nodeId.replaceAll(/./gu, "7") as typeof founder.trust.nodeId;
    const signed = await signRequest(await createSigningRequest(key, node), { nodeId: node, clusterId: founder.trust.cluster.clusterId }, await readCa(caHome), options.nowMs ?? Date.now());
    if (options.admitted) await writeRecord(founder.home, { kind: "member", nodeId: node, keySha256: signed.keySha256, deviceId: "seven", by: founder.trust.nodeId, atMs: 0 });
    return grpc.credentials.createSsl(await readFile(homeFiles(founder.home).ca), Buffer.from(key), Buffer.from(signed.certificate));
  }

  it("is let in with a certificate of the cluster once it was admitted, so that the refusals below have a cause", async () => {
    const { founder } = await cluster();
    const credentials = await credentialsOf(founder, founder.home, { admitted: true });
    expect(await statusOf("exchange", founder.address, credentials, peerName(founder.trust.nodeId))).toBe(OK);
  });

  it.each([
    ["of another cluster", async (founder: Awaited<ReturnType<typeof cluster>>["founder"]) => credentialsOf(founder, await lab.founder("other"), { admitted: true }), "untrusted"],
    ["that has expired", (founder: Awaited<ReturnType<typeof cluster>>["founder"]) => credentialsOf(founder, founder.home, { admitted: true, nowMs: Date.now() - 40 * dayMs }), "expired"],
    ["that a former member signed with the CA's key it kept", (founder: Awaited<ReturnType<typeof cluster>>["founder"]) => credentialsOf(founder, founder.home), "unknown"],
  ] as const)("with a certificate %s is cut off, from Join too", async (_which, make, reason) => {
    const { founder } = await cluster();
    const credentials = await make(founder);
    for (const call of ["exchange", "join", "generate"] as const) {
      expect(await statusOf(call, founder.address, credentials, peerName(founder.trust.nodeId)), call).toBe(UNAVAILABLE);
    }
    expect(founder.callers).toEqual([]);
    expect(founder.listener.refusals.get(reason)).toBeGreaterThanOrEqual(1);
  });

  it("that was forgotten loses its open connection, is refused by everyone who has heard, and comes back only as a new machine", async () => {
    const { founder, join } = await cluster();
    const home = await join("second");
    const second = await lab.member(home);
    const third = await lab.member(await join("third"));
    await second.exchangeWith(founder);
    await third.exchangeWith(founder);
    await second.exchangeWith(third);

    const { port } = founder.listener;
    const material = second.trust.material;
    const socket = connect({ host, port, ca: material.ca, cert: material.certificate, key: material.privateKey, servername: peerName(founder.trust.nodeId), ALPNProtocols: ["h2"] });
    const closed = new Promise<void>((resolve) => { socket.once("close", () => { resolve(); }); });
    socket.on("error", () => undefined);
    await new Promise<void>((resolve) => { socket.once("data", () => { resolve(); }); });

    const kept = await createToken(founder.home);
    await forgetDevice(founder.home, "second");
    await closed;
    // It kept what members keep of live tokens, which is enough to join with one.
    expect(await listTokens(founder.home)).toMatchObject([{ tokenId: kept.tokenId, state: "revoked" }, { state: "revoked" }, { state: "revoked" }]);
    await expect(second.exchangeWith(founder)).rejects.toMatchObject({ code: "not_ready" });
    // The third hears of it from the founder, refuses to be called by the second, and refuses to call it.
    await third.exchangeWith(founder);
    await expect(second.exchangeWith(third)).rejects.toMatchObject({ code: "not_ready" });
    await expect(third.exchangeWith(second)).rejects.toThrow(/forgotten/u);

    const id = second.trust.nodeId;
    await second.stop();
    const { line } = await createToken(founder.home);
    expect(await joinCluster(home, line, { deviceId: "second", candidates: () => [founder.address] })).toMatchObject({ changed: false });
    await joinCluster(home, line, { deviceId: "second", candidates: () => [founder.address], leave: true });
    const again = await lab.member(home);
    expect(again.trust.nodeId).not.toBe(id);
    await again.exchangeWith(founder);
  });
});

describe("a port without admission, like a worker's", () => {
  it("cuts off whoever has no certificate, whatever it says, and serves members on", async () => {
    const { founder } = await cluster();
    const server = new grpc.Server();
    const listener = await founder.transport.listen(server, { host, port: 0 });
    lab.onClean(async () => { server.forceShutdown(); await listener.close(); });
    const address = `${host}:${listener.port}`;
    const bare = grpc.credentials.createSsl(await readFile(homeFiles(founder.home).ca));
    for (const call of ["exchange", "join"] as const) expect(await statusOf(call, address, bare, peerName(founder.trust.nodeId))).toBe(UNAVAILABLE);
    expect(listener.refusals.get("no certificate")).toBeGreaterThanOrEqual(1);

    for (const nonsense of ["GET / HTTP/1.1\r\n\r\n", "\u0016\u0003\u0001", "x".repeat(100_000)]) {
      const socket = connectTcp({ host, port: listener.port });
      socket.on("error", () => undefined);
      const closed = new Promise<void>((resolve) => { socket.once("close", () => { resolve(); }); });
      socket.end(nonsense);
      await closed;
    }
    expect(await statusOf("exchange", address, founder.transport.channelCredentials(), peerName(founder.trust.nodeId))).toBe(grpc.status.UNIMPLEMENTED);
  });

  it("lets no more strangers wait on an agent's port than it has places for", async () => {
    const { founder } = await cluster();
    const open = Array.from({ length: 20 }, () => connect({ host, port: founder.listener.port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }));
    lab.onClean(() => { for (const socket of open) socket.destroy(); });
    let closed = 0;
    for (const socket of open) { socket.on("error", () => undefined); socket.on("close", () => { closed += 1; }); }
    await until("the ones too many are cut off", () => closed === 4);
    expect(founder.listener.refusals.get("too many strangers")).toBe(4);
    await founder.exchangeWith(founder);
  });
});

describe("a certificate", () => {
  it("renews by itself after two thirds of its life, for the same key, without a restart", async () => {
    const { founder, join } = await cluster();
    const second = await lab.member(await join("second"));
    const before = new X509Certificate(founder.trust.material.certificate);
    expect(await renewIfDue(founder.home, founder.trust.cluster)).toBe(false);
    const later = { ...systemClock, wallMs: () => Date.now() + 21 * dayMs };
    expect(await renewIfDue(founder.home, founder.trust.cluster, later)).toBe(true);
    await until("the new certificate is in use", () => new X509Certificate(founder.trust.material.certificate).serialNumber !== before.serialNumber);
    const after = new X509Certificate(founder.trust.material.certificate);
    expect(Date.parse(after.validTo)).toBeGreaterThan(Date.parse(before.validTo) + 15 * dayMs);
    const shown = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host, port: founder.listener.port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => { resolve(socket.getPeerX509Certificate()?.serialNumber ?? ""); socket.destroy(); });
      socket.on("error", reject);
    });
    expect(shown).toBe(after.serialNumber);
    // It counts from three weeks ahead of now, less the skew allowed: not valid for members whose clocks are right.
    await expect(second.exchangeWith(founder)).rejects.toMatchObject({ code: "not_ready" });
  });
});
