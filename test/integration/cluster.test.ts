/** Three real nodes on one machine: how they come together, whom they let in, and what they keep to themselves. MINID_LONG=1 adds what takes long. */
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { toMinidError } from "../../src/core/errors.js";
import { peerName } from "../../src/core/transport.js";
import { homeFiles } from "../../src/core/trust/trust.js";
import { foundCluster } from "../../src/daemon/identity/cluster.js";
import { joinCluster } from "../../src/daemon/security/join.js";
import { decodeToken, encodeToken, newSecret, tokenIdOf, verifierOf } from "../../src/daemon/security/token.js";
import { createToken } from "../../src/daemon/security/tokens.js";
import type { StatusSnapshot } from "../../src/daemon/status.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { observed } from "../support/observed.js";
import { agentRpcs, bareCredentials, bytesShown, call, credentialsIn, everyRpc, expiredCredentials, forgedCredentials, joinPath } from "../support/strangers.js";
import { until } from "../support/wait.js";

const long = process.env["MINID_LONG"] === "1";
const { OK, UNAVAILABLE, UNAUTHENTICATED, UNIMPLEMENTED, PERMISSION_DENIED } = grpc.status;

const secretPrompt = "The password of the lighthouse is quetzalcoatl-4711, what is it?";
const statusesOf = (nodes: readonly ClusterNode[]): Promise<StatusSnapshot[]> => Promise.all(nodes.map((node) => node.status()));

describe("three nodes on one machine", () => {
  let cluster: Cluster;
  let one: ClusterNode;
  let two: ClusterNode;
  let three: ClusterNode;
  /** Everything that must be in no log. */
  const secrets: string[] = [];

  const token = async (node: ClusterNode, ...args: string[]): Promise<string> => {
    const line = (await node.cli("token", ...args)).stdout.trim();
    const { secret } = decodeToken(line);
    secrets.push(line, line.slice(7), secret.toString("hex"), secret.toString("base64"), secret.toString("base64url"), verifierOf(secret));
    return line;
  };
  /** Joins with a home of its own that is never started. @returns what went wrong; undefined when it is a member now. */
  const enter = async (line: string): Promise<string | undefined> => {
    const home = mkdtempSync(join(cluster.scratch, "newcomer-"));
    return await joinCluster(home, line, { deviceId: basename(home), candidates: () => [] }).then(() => undefined, (error: unknown) => toMinidError(error).message);
  };

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 3, start: 1, settings: { threads: 1, "worker-standby": false } });
    [one, two, three] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  }, 300_000);
  afterAll(async () => { await cluster?.stop(); }, 120_000);

  it("become one ring although those who join were started before anybody was there to join", async () => {
    const line = await token(one);
    await one.stop();
    three.start(line);
    two.start(line);
    const startedAt = performance.now();
    one.start();
    await cluster.ready();
    observed("three nodes, the founder last, to a ready plan", startedAt);

    const statuses = await statusesOf(cluster.nodes);
    expect(statuses.map((status) => status.role).toSorted()).toEqual(["follower", "follower", "leader"]);
    for (const status of statuses) {
      expect(status.leader).toEqual(statuses[0]?.leader);
      expect(status.epoch).toEqual(statuses[0]?.epoch);
      expect(status.plan).toEqual(statuses[0]?.plan);
      expect(status.world_size).toBe(3);
      expect(status.devices.map(({ device_id, rank, role, layers }) => ({ device_id, rank, role, layers }))).toEqual(statuses[0]?.devices.map(({ device_id, rank, role, layers }) => ({ device_id, rank, role, layers })));
      expect(status.conditions.filter((condition) => condition.severity === "error")).toEqual([]);
    }
    expect(statuses[0]?.devices[0]).toMatchObject({ rank: 0, role: "coordinator", device_id: statuses[0]?.leader?.device_id });
  });

  it.runIf(long)("become one ring again in whatever order they are started", async () => {
    for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
      await Promise.all(cluster.nodes.map((node) => node.stop()));
      let startedAt = 0;
      for (const index of order) {
        startedAt = performance.now();
        cluster.nodes[index]?.start();
        await cluster.nodes[index]?.listening();
      }
      await cluster.ready();
      observed(`nodes ${order.map((index) => index + 1).join(", ")} one after the other, the last one's start to a ready plan`, startedAt);
    }
  }, 600_000);

  it("answer through each of them", async () => {
    const answers = await Promise.all(cluster.nodes.map((node) => node.ask({ prompt: secretPrompt, maxTokens: 24 })));
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
    secrets.push("quetzalcoatl", answers[0]?.text ?? "");
  });

  it("let a member call on both ports, so that the refusals below have a cause", async () => {
    const { node: { node_id: nodeId } } = await one.status();
    const credentials = await credentialsIn(two.home);
    expect(await call(`127.0.0.1:${one.setup.agentPort}`, "/minid.agent.v1.TrustExchange/Exchange", credentials, peerName(nodeId))).toMatchObject({ status: OK, messages: 1 });
    expect(await call(`127.0.0.1:${one.setup.workerPort}`, "/minid.worker.v1.Worker/Probe", credentials, peerName(nodeId))).toMatchObject({ status: OK, messages: 1 });
    expect(await call(`127.0.0.1:${one.setup.workerPort}`, "/grpc.health.v1.Health/Check", credentials, peerName(nodeId))).toMatchObject({ status: OK, messages: 1 });
  });

  it("give a stranger nothing on any port, whatever it shows and whatever it calls", async () => {
    const { node: { node_id: nodeId }, cluster: { id: clusterId } } = await one.status();
    const { node: { node_id: secondId } } = await two.status();
    const foreign = join(cluster.scratch, "foreign");
    await foundCluster(foreign, { name: "minid", deviceId: "foreign" });
    const shown: Record<string, grpc.ChannelCredentials> = {
      "no TLS": grpc.credentials.createInsecure(),
      "another cluster's certificate": grpc.credentials.createSsl(readFileSync(homeFiles(one.home).ca), readFileSync(homeFiles(foreign).key), readFileSync(homeFiles(foreign).certificate)),
      "a certificate that ran out": await expiredCredentials(two.home, { nodeId: secondId, clusterId }),
      "a forged certificate": await forgedCredentials(two.home, { nodeId: secondId, clusterId }),
    };
    const name = peerName(nodeId);
    const got: string[] = [];
    for (const [what, credentials] of Object.entries(shown)) {
      for (const port of [one.setup.agentPort, one.setup.workerPort]) {
        for (const path of everyRpc) {
          const { status, messages } = await call(`127.0.0.1:${port}`, path, credentials, name);
          if (status !== UNAVAILABLE || messages > 0) got.push(`${what}, ${path} on ${port === one.setup.agentPort ? "the agent" : "the worker"}: ${grpc.status[status]}, ${messages} messages`);
        }
      }
    }
    const bare = await bareCredentials(one.home);
    for (const path of everyRpc) {
      const agent = await call(`127.0.0.1:${one.setup.agentPort}`, path, bare, name);
      // A port answers for what it does not have as it does to anybody.
      const expected = path === joinPath ? PERMISSION_DENIED : agentRpcs.includes(path) ? UNAUTHENTICATED : UNIMPLEMENTED;
      if (agent.status !== expected || agent.messages > 0) got.push(`no certificate, ${path} on the agent: ${grpc.status[agent.status]}, ${agent.messages} messages`);
      const worker = await call(`127.0.0.1:${one.setup.workerPort}`, path, bare, name);
      if (worker.status !== UNAVAILABLE || worker.messages > 0) got.push(`no certificate, ${path} on the worker: ${grpc.status[worker.status]}, ${worker.messages} messages`);
    }
    expect(got).toEqual([]);
    expect(await bytesShown(one.setup.workerPort)).toBe(0);
  });

  it("let nobody join with a token that was forged, has expired, was revoked or is used up", async () => {
    const good = decodeToken(await token(one));
    expect(await enter(encodeToken({ ...good, secret: newSecret() }))).toContain("does not know that token");

    const yesterday = { ...systemClock, wallMs: () => Date.now() - 25 * 3_600_000 };
    const expired = decodeToken((await createToken(one.home, { hints: good.hints, clock: yesterday })).line);
    expect(await enter(encodeToken(expired))).toContain("expired");
    // The joiner's own clock is the first to object; a token that lies to it meets the member's.
    expect(await enter(encodeToken({ ...expired, expiresAtMs: Date.now() + 3_600_000 }))).toContain("expired");

    const revoked = await token(one);
    await one.cli("token", "revoke", tokenIdOf(decodeToken(revoked).secret));
    expect(await enter(revoked)).toContain("revoked");

    const once = await token(one, "--once");
    expect(await enter(once)).toBeUndefined();
    expect(await enter(once)).toContain("already used");
  });

  it("refuse a machine from the moment it is forgotten, and go on without it", async () => {
    const leader = await cluster.leader();
    const gone = cluster.nodes.find((node) => node !== leader)!;
    const rest = cluster.nodes.filter((node) => node !== gone);
    const { epoch } = await leader.status();
    const kept = await credentialsIn(gone.home);
    const forgottenAt = performance.now();
    await leader.cli("forget", gone.name);
    await until("a ring of the other two", async () => (await statusesOf(rest)).every((status) => status.ready && status.world_size === 2 && status.devices.every((device) => device.device_id !== gone.name)));
    observed("a machine forgotten to a ready plan without it", forgottenAt);
    expect((await leader.status()).epoch).toEqual(epoch);

    for (const node of rest) {
      const { node_id } = (await node.status()).node;
      for (const port of [node.setup.agentPort, node.setup.workerPort]) {
        for (const path of everyRpc) expect(await call(`127.0.0.1:${port}`, path, kept, peerName(node_id)), `${path} on ${port}`).toEqual({ status: UNAVAILABLE, messages: 0 });
      }
    }
    await rest[0]?.ask({ prompt: "Name three colors.", maxTokens: 8 });
    await until("the forgotten one knows that it is alone", async () => { const { devices, world_size } = await gone.status(); return world_size === 1 || devices.every((device) => device.self || device.status !== "healthy"); });

    // It comes back as a new machine, with a new token.
    await gone.stop();
    await gone.cli("join", await token(leader), "--leave", "--device-id", gone.name, "--mdns", "false");
    gone.start();
    await cluster.ready();
  });

  it("write no token, no key, no prompt and no answer into any log", async () => {
    await Promise.all(cluster.nodes.map((node) => node.stop()));
    for (const node of cluster.nodes) {
      for (const file of [homeFiles(node.home).key, homeFiles(node.home).caKey]) secrets.push(...readFileSync(file, "utf8").split("\n").filter((line) => line.length > 40 || line.includes("PRIVATE")));
    }
    let bytes = 0;
    for (const node of cluster.nodes) {
      const directory = join(node.home, "logs");
      for (const file of readdirSync(directory)) {
        const text = readFileSync(join(directory, file), "utf8");
        bytes += text.length;
        for (const secret of secrets) if (secret !== "" && text.includes(secret)) expect.fail(`${file} of ${node.name} holds ${JSON.stringify(secret.slice(0, 12))}…`);
      }
    }
    expect(secrets.length).toBeGreaterThan(20);
    expect(bytes).toBeGreaterThan(1_000);
  });
});
