/** The worker as a process: loading, refusing, surviving, leaving. */
import { cp, mkdtemp, open as openFile, readFile, rm, truncate } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { insecureTransport, loadTransport, peerName } from "../../../src/core/transport.js";
import { type WorkerClient, connectWorker, rawWorkerClient } from "../../../src/core/worker-client.js";
import type { Frame, PassFailure, StepResult } from "../../../src/core/worker-protocol.js";
import { foundCluster } from "../../../src/daemon/identity/cluster.js";
import { readRunFile } from "../../../src/core/run-file.js";
import { freePorts } from "../../support/ports.js";
import { until } from "../../support/wait.js";
import { Driver, WorkerProcess, epochOf, layerCount, loadRequest, loadRing, open, smollm, someTokens, spawnWorker, span, succeeded, tiny } from "./support.js";

const model = tiny("llama-8bit-rope3");
const vocabSize = 512;
const prompt = someTokens(40, vocabSize);

describe("a running worker", () => {
  let worker: WorkerProcess;
  let layers: number;
  beforeAll(async () => { [worker, layers] = await Promise.all([WorkerProcess.start(), layerCount(model)]); });
  afterAll(() => worker.clean());

  it("refuses a damaged model with code and message, says so in Probe, stays up and loads a good one", async () => {
    const damaged = await mkdtemp(join(tmpdir(), "minid-damaged-"));
    try {
      await cp(model, damaged, { recursive: true, dereference: true });
      await truncate(join(damaged, "model.safetensors"), 100_000);
      await expect(worker.client.load(loadRequest(damaged, layers))).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining("model.safetensors") as string });
      expect(await worker.client.probe()).toMatchObject({ phase: "PHASE_FAILED", errorCode: "model_corrupt", error: expect.stringContaining("model.safetensors") as string });
      await expect(worker.client.load(loadRequest(join(damaged, "absent"), layers))).rejects.toMatchObject({ code: "model_unreadable" });
      await expect(worker.client.load(loadRequest(model, layers + 1))).rejects.toMatchObject({ code: "invalid_value" });
    } finally { await rm(damaged, { recursive: true, force: true }); }
    const progress: number[] = [];
    const last = await worker.client.load(loadRequest(model, layers, { epoch: epochOf(2) }), { onProgress: ({ bytesLoaded }) => { progress.push(bytesLoaded); } });
    expect(last).toMatchObject({ ready: true, reused: false });
    expect(last.bytesLoaded).toBeGreaterThan(0);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    const probe = await worker.client.probe();
    expect(probe).toMatchObject({ phase: "PHASE_IDLE", pid: worker.child.pid, errorCode: "", epoch: epochOf(2), stage: { rank: 0, worldSize: 1, layerFirst: 0, layerEnd: layers, engine: "onnx", replay: "prefill" } });
  });

  it("says SERVING by grpc.health.v1 once a stage is loaded", async () => {
    await loadRing([worker], model, { epoch: epochOf(3) });
    const client = new grpc.Client(worker.address, grpc.credentials.createInsecure());
    const status = await new Promise<string | undefined>((resolve, reject) => {
      client.makeUnaryRequest("/grpc.health.v1.Health/Check", (service: string) => Buffer.concat([Buffer.from([0x0a, service.length]), Buffer.from(service)]), (bytes: Buffer) => (bytes[1] === 1 ? "SERVING" : "other"), "minid.worker.v1.Worker", { deadline: Date.now() + 5_000 },
        (error, reply) => { if (error) reject(error); else resolve(reply); });
    });
    client.close();
    expect(status).toBe("SERVING");
  });

  it("refuses an older epoch and an older plan of the same epoch, for loads and for steps", async () => {
    await loadRing([worker], model, { epoch: epochOf(5, "bb"), planVersion: 4 });
    for (const older of [{ epoch: epochOf(4, "zz"), planVersion: 9 }, { epoch: epochOf(5, "aa"), planVersion: 9 }, { epoch: epochOf(5, "bb"), planVersion: 3 }]) {
      await expect(worker.client.load(loadRequest(model, layers, older))).rejects.toMatchObject({ code: "stale_epoch" });
      const driver = new Driver(worker.client, older.epoch, older.planVersion);
      expect((await driver.step([open(0, prompt)], [span(0, 0, prompt, true)])).errorCode).toBe("stale_epoch");
      driver.close();
    }
    const early = new Driver(worker.client, epochOf(6), 1);
    expect((await early.step([open(0, prompt)], [span(0, 0, prompt, true)])).errorCode).toBe("not_ready");
    early.close();
    expect((await worker.client.probe()).epoch).toEqual(epochOf(5, "bb"));
  });

  it("survives hostile frames and steps, and computes correctly afterwards", async () => {
    await loadRing([worker], model, { epoch: epochOf(7) });
    const driver = new Driver(worker.client, epochOf(7));
    const before = await driver.generate(0, prompt, 3);
    const hostile = [
      [[], [span(0, 0, [vocabSize], true)]], [[], [span(0, 0, [-1], true)]], [[], [span(4_294_967_295, 0, [1], true)]], [[], [{ ...span(0, 0, [1], true), rows: 4_000_000_000 }]],
      [[], [span(0, 4_294_967_295, [1], true)]], [[], [span(0, 0, prompt, true), span(0, 0, prompt, true)]], [[], [span(6, 0, [1], true)]],
      [[open(0, prompt, { temperature: Number.NaN })], []], [[open(0, prompt, { topLogprobs: 4_000_000_000 })], []], [[open(0, Array.from({ length: 5_000 }, () => 1))], []],
      [[{ op: "copy", copy: { from: 0, to: 0, length: 1 } }], []], [[{ op: "copy", copy: { from: 999, to: 0, length: 1 } }], []], [[{ op: "drop", drop: { slot: 999 } }], []],
    ] as const;
    for (const [ops, spans] of hostile) expect((await driver.step(ops, spans)).errorCode).toBe("invalid_value");
    expect((await driver.step([{ op: "copy", copy: { from: 0, to: 1, length: 200 } }], [])).errorCode).toBe("stage_lost");
    // The refused steps changed nothing: the sequence goes on from its cache.
    const last = before.at(-1)?.token ?? 0;
    const continued = succeeded(await driver.step([], [span(0, prompt.length + 2, [last], true)]));
    expect(continued.sampled).toEqual((await driver.generate(1, prompt, 4)).slice(3).map((sampled) => ({ ...sampled, slot: 0 })));
    driver.close();
  });

  it("survives hostile frames on Pass and reports each on the stream", async () => {
    const base = { times: [], epoch: epochOf(8), planVersion: 1, ops: [], spans: [span(0, 0, [0], true)] };
    await worker.client.load(loadRequest(model, layers, { epoch: epochOf(8), rank: 1, worldSize: 2, layerFirst: 1, nextAddress: worker.address }));
    const raw = rawWorkerClient(worker.address, "", insecureTransport);
    const call = raw.pass();
    const failures: PassFailure[] = [];
    call.on("data", (failure: PassFailure) => { failures.push(failure); });
    call.on("error", () => undefined);
    const width = (JSON.parse(await readFile(join(model, "config.json"), "utf8")) as { readonly hidden_size: number }).hidden_size;
    const frames: Omit<Frame, "stepSeq" | "run" | "place">[] = [
      { ...base, hidden: Buffer.alloc(3) }, { ...base, hidden: Buffer.alloc(0) }, { ...base, hidden: Buffer.alloc(1 << 20) }, { ...base, hidden: Buffer.alloc(width * 4), checksum: 1 }, { ...base, hidden: Buffer.alloc(width * 4, 0xff) },
      { ...base, epoch: epochOf(1), hidden: Buffer.alloc(width * 4) }, { ...base, planVersion: 9, hidden: Buffer.alloc(width * 4) }, { ...base, spans: [span(0, 100, [0], true)], hidden: Buffer.alloc(width * 4) },
    ];
    for (const [i, frame] of frames.entries()) call.write({ ...frame, run: 1, place: i < 5 ? i + 1 : 6, stepSeq: i + 1 });
    // Numbers that are not finite are the sequence's fault, told with the frame that goes on: the step itself is no failure.
    await until("every other frame is refused", () => failures.length === frames.length - 1);
    expect(failures.toSorted((a, b) => a.stepSeq - b.stepSeq).map(({ stepSeq, errorCode }) => [stepSeq, errorCode])).toEqual([
      [1, "invalid_value"], [2, "invalid_value"], [3, "invalid_value"], [4, "stage_lost"], [6, "stale_epoch"], [7, "not_ready"], [8, "stage_lost"],
    ]);
    expect(failures.find(({ stepSeq }) => stepSeq === 1)?.error).toMatch(/rank 1/);
    call.cancel();
    raw.close();
    expect((await worker.client.probe()).pid).toBe(worker.child.pid);
  });

  it("gives up a load that a newer plan supersedes", async () => {
    const all = await layerCount(smollm);
    const old = worker.client.load(loadRequest(smollm, all, { epoch: epochOf(8), planVersion: 2, numerics: "precise" }));
    const refused = expect(old).rejects.toMatchObject({ code: "stale_epoch" });
    await until("the load is under way", async () => (await worker.client.probe()).phase === "PHASE_LOADING");
    expect(await worker.client.load(loadRequest(model, layers, { epoch: epochOf(8), planVersion: 3 }))).toMatchObject({ ready: true, reused: false });
    await refused;
    expect(await worker.client.probe()).toMatchObject({ phase: "PHASE_IDLE", stage: { planVersion: 3, layerEnd: layers } });
  });

  it("answers Probe, and shows progress, while a long prefill computes", async () => {
    const all = await layerCount(smollm);
    await worker.client.load(loadRequest(smollm, all, { epoch: epochOf(9), contextMax: 1_024 }));
    const driver = new Driver(worker.client, epochOf(9));
    const long = someTokens(500, 49_152);
    const seen: number[] = [];
    const step = driver.step([open(0, long)], [span(0, 0, long, true)]);
    await until("the step is computed", async () => {
      const probe = await worker.client.probe();
      if (probe.phase === "PHASE_BUSY") { expect(probe.inflight).toBe(1); seen.push(probe.stepSeq); }
      return driver.order.length > 0;
    }, 90_000);
    succeeded(await step);
    expect(seen.length).toBeGreaterThan(3);
    expect(new Set(seen).size).toBeGreaterThan(1);
    driver.close();
  });
});

describe("the end and the beginning of a worker", () => {
  const workers: WorkerProcess[] = [];
  const started = async (options: Parameters<typeof WorkerProcess.start>[0] = {}): Promise<WorkerProcess> => {
    const worker = await WorkerProcess.start(options);
    workers.push(worker);
    return worker;
  };
  afterEach(async () => { await Promise.all(workers.splice(0).map((worker) => worker.clean())); });

  it.each([0, 1])("finishes the step in flight on SIGTERM of rank %i, then leaves with 0", async (rank) => {
    const ring = await Promise.all([started(), started()]);
    const [first] = ring;
    const leaving = ring[rank] ?? first;
    await loadRing(ring, smollm, { contextMax: 1_024 });
    const driver = new Driver(first.client);
    const long = someTokens(200, 49_152);
    // A fast machine may answer before the probe sees it at work: then once more.
    const caught = async (): Promise<StepResult> => {
      const answered = driver.order.length;
      const step = driver.step([open(0, long)], [span(0, 0, long, true)]);
      const seen = await until("the step computes there", async () => (driver.order.length > answered ? "answered" : (await leaving.client.probe()).phase === "PHASE_BUSY" && "busy"));
      if (seen === "answered") return caught();
      leaving.child.kill("SIGTERM");
      return step;
    };
    expect(succeeded(await caught()).sampled).toHaveLength(1);
    expect(await leaving.exited).toEqual({ code: 0, signal: null });
    const next = await driver.step([], [span(0, long.length, [1], true)]).catch((error: unknown) => error);
    expect(next).toMatchObject(rank === 0 ? { retryable: true } : { errorCode: "stage_lost" });
  });

  it("refuses an older epoch also after a crash", async () => {
    const worker = await started();
    const layers = await layerCount(model);
    await worker.client.load(loadRequest(model, layers, { epoch: epochOf(12, "cc") }));
    await worker.clean({ keepHome: true });
    const successor = await started({ home: worker.home });
    expect(await successor.client.probe()).toMatchObject({ epoch: epochOf(12, "cc"), phase: "PHASE_EMPTY" });
    await expect(successor.client.load(loadRequest(model, layers, { epoch: epochOf(11, "dd") }))).rejects.toMatchObject({ code: "stale_epoch" });
    expect(await successor.client.load(loadRequest(model, layers, { epoch: epochOf(12, "cc") }))).toMatchObject({ ready: true });
  });

  it("leaves with 0 when its supervisor goes away", async () => {
    const worker = await started({ supervised: true });
    worker.child.disconnect();
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });

  it("ends with one clear line when its port is taken", async () => {
    const blocker = createServer();
    const port = await new Promise<number>((resolve) => { blocker.listen(0, "127.0.0.1", () => { const address = blocker.address(); resolve(typeof address === "object" && address ? address.port : 0); }); });
    const home = await mkdtemp(join(tmpdir(), "minid-worker-"));
    try {
      const { exited, output } = spawnWorker(home, port);
      expect(await exited).toEqual({ code: 1, signal: null });
      const lines = output.join("").trim().split("\n");
      expect(lines.at(-1)).toContain(`port_in_use: cannot listen on 127.0.0.1:${port}`);
      expect(lines).toHaveLength(1);
    } finally {
      blocker.close();
      await rm(home, { recursive: true, force: true });
    }
  });

  it("a standby takes the port, the epoch and the stage over when the worker is killed, and leaves quietly when it is told to", async () => {
    const [port = 0] = await freePorts(1);
    const home = await mkdtemp(join(tmpdir(), "minid-worker-"));
    const first = await started({ home, port });
    const request = loadRequest(model, await layerCount(model), { epoch: epochOf(7) });
    await first.client.load(request);
    const said = async (client: WorkerClient): Promise<unknown> => succeeded(await new Driver(client, epochOf(7)).step([open(0, prompt)], [span(0, 0, prompt, true)])).sampled;
    const before = await said(first.client);
    const standbys = [spawnWorker(home, port), spawnWorker(home, port)];
    let brokenConnections = 0;
    const watching = connectWorker(first.address, "", insecureTransport, () => { brokenConnections += 1; });
    try {
      await watching.probe(10_000);
      await until("a standby waits", () => readRunFile(home, "standby") !== undefined);
      await until("each has the stage at hand", () => standbys.every(({ output }) => output.join("").includes("at hand here too")), 120_000);
      first.child.kill("SIGKILL");
      await until("its connection tells that it is gone", () => brokenConnections > 0);
      const heir = await until("a standby serves", () => {
        const run = readRunFile(home, "worker");
        return standbys.find(({ child }) => child.pid === run?.pid);
      }).catch((error: unknown) => { throw new Error(`${String(error)}; they said: ${standbys.map(({ child, output }) => `[${child.exitCode}] ${output.join("")}`).join(" | ")}`, { cause: error }); });
      const client = connectWorker(first.address, "", insecureTransport);
      expect(await client.probe(10_000)).toMatchObject({ pid: heir.child.pid, phase: "PHASE_EMPTY", epoch: epochOf(7) });
      expect(await client.load(request)).toMatchObject({ ready: true, reused: true });
      expect(await said(client)).toEqual(before);
      client.close();
      const [other] = standbys.filter((standby) => standby !== heir);
      expect(other?.child.exitCode).toBeNull();
      for (const { child, exited } of standbys) {
        child.kill("SIGTERM");
        expect(await exited).toEqual({ code: 0, signal: null });
      }
    } finally {
      watching.close();
      for (const { child } of standbys) child.kill("SIGKILL");
    }
  });

  it("goes on from a damaged epoch file, which it moves aside", async () => {
    const home = await mkdtemp(join(tmpdir(), "minid-worker-"));
    const file = await openFile(join(home, "worker-epoch.json"), "w");
    await file.writeFile("{");
    await file.close();
    const worker = await started({ home });
    expect((await worker.client.probe()).epoch).toEqual({ counter: 0, nodeId: "" });
    expect(worker.output).toContain("damaged");
  });

  it("talks mutual TLS under the cluster's CA, and to nobody without it", async () => {
    const home = await mkdtemp(join(tmpdir(), "minid-worker-"));
    const early = spawnWorker(home, 0, { insecure: false });
    await until("the worker waits for a cluster", () => early.output.join("").includes("waiting for this machine"));
    early.child.kill("SIGTERM");
    expect(await early.exited).toEqual({ code: 0, signal: null });
    await foundCluster(home, { name: "test", deviceId: "one" });
    const transport = loadTransport(home);
    const nodeId = transport.trust?.nodeId ?? "";
    const worker = await started({ home, transport, peerName: peerName(nodeId) });
    const layers = await layerCount(model);
    expect(await worker.client.load(loadRequest(model, layers))).toMatchObject({ ready: true });
    const driver = new Driver(worker.client);
    expect(await driver.generate(0, prompt, 2)).toHaveLength(2);
    driver.close();
    const stranger = connectWorker(worker.address, "", insecureTransport);
    await expect(stranger.probe(3_000)).rejects.toMatchObject({ code: expect.stringMatching(/not_ready|deadline_exceeded/) as string });
    stranger.close();
    const wrongName = connectWorker(worker.address, peerName("00".repeat(16)), transport);
    await expect(wrongName.probe(3_000)).rejects.toMatchObject({ code: expect.stringMatching(/not_ready|deadline_exceeded/) as string });
    wrongName.close();
    transport.close();
  });
});
