/**
 * A machine that was admitted, and means harm: it has a valid certificate and sends every RPC of agents and workers damaged and wrong
 * messages. The others live on, their clients' answers are the undisturbed ones, and nothing that it is told holds another client's prompt.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Transport, loadTransport, peerName } from "../../src/core/transport.js";
import { answersService } from "../../src/daemon/answers/wire.js";
import { agentServices } from "../../src/daemon/security/rpc.js";
import { joinCluster } from "../../src/daemon/security/join.js";
import { loadProto } from "../../src/core/proto.js";
import { caseRandom, below, bytes, mutateBytes } from "../fuzz/mutate.js";
import { differences } from "../support/answer.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";

const seed = Number(process.env["MINID_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env["MINID_HOSTILE_ROUNDS"] ?? 25);
const secret = "Marzipanschwein";
const question = { prompt: `The password is ${secret}. Tell me a story about a fox.`, maxTokens: 48 };

interface Method { readonly path: string; readonly requestStream: boolean; readonly responseStream: boolean; readonly requestSerialize: (value: object) => Buffer }
const workerService = (loadProto("worker.proto") as grpc.GrpcObject & { readonly minid: { readonly worker: { readonly v1: { readonly Worker: grpc.ServiceClientConstructor } } } }).minid.worker.v1.Worker;

const low = { counter: 0, nodeId: "f".repeat(32) };
const floats = Buffer.from(Float32Array.from({ length: 576 }, (_, index) => [Number.NaN, Infinity, -Infinity, 1e38][index % 4]!).buffer);
const hash = "a".repeat(64);
const step = { epoch: low, planVersion: 1, stepSeq: 1, ops: [{ open: { slot: 0, sampling: null, history: [1, 2], promptLength: 9 } }, { copy: { from: 3, to: 900, length: 70_000 } }], spans: [{ slot: 2, position: 5, rows: 1, tokens: [-5] }, { slot: 4_000_000, position: 0, rows: 100_000 }] };
/** Of each RPC: what is sent whole, and damaged. */
const sent: Readonly<Record<string, readonly object[]>> = {
  Generate: [{ epoch: low, requestId: "r", modelId: "no such model", prompt: [1, 2, 3], sampling: { temperature: -1, seed: 5 }, maxTokens: 5 }, { epoch: null, prompt: [-1, 2 ** 31 - 1] }],
  Deliver: [{ json: Buffer.from("{}"), trustDigest: "x" }, { json: Buffer.from("[1,"), trustDigest: "" }, { json: Buffer.from(JSON.stringify({ type: "plan", plan: null })), trustDigest: "y" }],
  Exchange: [{ records: ["{}", "[", JSON.stringify({ kind: "member", nodeId: "zz" })] }],
  Claim: [{ key: hash, digest: hash, claim: low }, { key: "short", digest: "", claim: null }, { key: hash, digest: hash, claim: { counter: 2 ** 52, nodeId: "e".repeat(32) } }],
  Keep: [{ records: [{ key: hash, digest: hash, claim: low, head: null, logs: [] }, { key: "x" }] }],
  Probe: [{}], Join: [{ protocol: 1, tokenId: "t", nodeId: "n", csr: bytes(caseRandom(1, "csr", 1), 60), proof: Buffer.alloc(32) }],
  Load: [{ epoch: low, planVersion: 1, modelDir: "/etc", modelId: "m", rank: 0, worldSize: 1, layerFirst: 0, layerEnd: 1, engine: "onnx", numerics: "fast", slots: 1, contextMax: 16, batchMax: 1 }, { engine: "../../x", worldSize: 4_000_000_000 }],
  Run: [step, { ...step, epoch: null, stepSeq: 2 ** 52 }],
  Pass: [{ ...step, hidden: floats }, { ...step, hidden: Buffer.alloc(7), epoch: { counter: 2 ** 52, nodeId: "e".repeat(32) } }],
};

describe(`a hostile member (seed ${seed})`, () => {
  let cluster: Cluster;
  let home: string;
  let transport: Transport;
  let first: ClusterNode;

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2, settings: { threads: 1 } });
    first = cluster.nodes[0]!;
    home = mkdtempSync(join(tmpdir(), "minid-hostile-"));
    await joinCluster(home, await first.token(), { deviceId: "hostile", candidates: () => [`127.0.0.1:${first.setup.agentPort}`] });
    transport = loadTransport(home);
  }, 400_000);
  afterAll(async () => {
    transport?.close();
    await cluster?.stop();
    if (home) rmSync(home, { recursive: true, force: true });
  }, 120_000);

  it("ends nobody's process, disturbs nobody's answer and is told nobody's prompt", async () => {
    const undisturbed = await first.ask(question);
    const pids = () => Promise.all(cluster.nodes.flatMap((node) => [node.pid("agent"), node.pid("worker")]));
    const before = await pids();
    const { devices } = await first.status();
    const told: Buffer[] = [];
    const clients = cluster.nodes.flatMap((node) => {
      const id = devices.find(({ device_id }) => device_id === node.name)!.node_id;
      const to = (port: number) => new grpc.Client(`127.0.0.1:${port}`, transport.channelCredentials(), transport.channelOptions(peerName(id)));
      const services = agentServices();
      return [
        { client: to(node.setup.agentPort), methods: [services.Agent, services.TrustExchange, services.Admission, answersService()].flatMap((service) => Object.values(service.service) as unknown as Method[]) },
        { client: to(node.setup.workerPort), methods: Object.values(workerService.service) },
      ];
    });
    let calls = 0;
    const attack = async (): Promise<void> => {
      for (let round = 0; round < rounds; round += 1) {
        await Promise.all(clients.flatMap(({ client, methods }) => methods.map(async (method, at) => {
          const random = caseRandom(seed, method.path, round * 100 + at);
          const name = method.path.split("/").at(-1)!;
          const messages = Array.from({ length: method.requestStream ? 1 + below(random, 3) : 1 }, () => {
            if (random.chance(0.1)) return bytes(random, below(random, 400));
            const whole = method.requestSerialize(random.pick(sent[name] ?? [{}]));
            return random.chance(0.5) ? mutateBytes(random, whole) : whole;
          });
          calls += 1;
          await attempt(client, method, messages, told);
        })));
      }
    };
    const [answer, other] = await Promise.all([first.ask(question), cluster.nodes[1]!.ask(question), attack()]);
    expect(differences(answer, undisturbed)).toEqual([]);
    expect(differences(other, undisturbed)).toEqual([]);
    expect(calls).toBe(rounds * clients.reduce((sum, { methods }) => sum + methods.length, 0));
    expect(await pids()).toEqual(before);
    expect((await cluster.ready()).running).toBe(true);
    expect(differences(await first.ask(question), undisturbed)).toEqual([]);
    expect(told.length).toBeGreaterThan(0);
    expect(told.filter((reply) => reply.includes(secret))).toEqual([]);
    for (const { client } of clients) client.close();
  }, 400_000);
});

const callMs = 3_000;

/** Sends the messages as they are, and keeps whatever comes back. */
function attempt(client: grpc.Client, { path, requestStream, responseStream }: Method, messages: readonly Buffer[], told: Buffer[]): Promise<void> {
  const same = (value: Buffer): Buffer => value;
  const keep = (value: Buffer): void => { told.push(value); };
  const options = { deadline: Date.now() + callMs };
  const metadata = new grpc.Metadata();
  return new Promise((resolve) => {
    const done = (_error: unknown, value?: Buffer): void => { if (value) keep(value); resolve(); };
    if (!requestStream && !responseStream) { client.makeUnaryRequest(path, same, same, messages[0]!, metadata, options, done); return; }
    const call = requestStream
      ? responseStream ? client.makeBidiStreamRequest(path, same, same, metadata, options) : client.makeClientStreamRequest(path, same, same, metadata, options, done)
      : client.makeServerStreamRequest(path, same, same, messages[0]!, metadata, options);
    call.on("error", () => resolve());
    if ("read" in call) {
      call.on("data", keep);
      call.on("end", () => resolve());
      call.on("status", () => resolve());
    }
    if ("write" in call) {
      for (const message of messages) call.write(message);
      call.end();
    }
  });
}
