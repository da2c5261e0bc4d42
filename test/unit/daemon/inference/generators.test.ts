/** From the front door to the ring and back, in process and over a real gRPC channel on loopback. */
import { once } from "node:events";
import grpc from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import { MinidError } from "../../../../src/core/errors.js";
import { type Epoch, nodeId } from "../../../../src/core/ids.js";
import { silentLog } from "../../../../src/core/log.js";
import { insecureTransport } from "../../../../src/core/transport.js";
import type { GenerateEvent, GenerateRequest, Generator } from "../../../../src/daemon/inference/generate.js";
import { type Leadership, generateHandler } from "../../../../src/daemon/inference/generate-service.js";
import { agentService } from "../../../../src/daemon/inference/generate-wire.js";
import { LocalGenerator } from "../../../../src/daemon/inference/local-generator.js";
import { RemoteGenerator, connectGenerateClient } from "../../../../src/daemon/inference/remote-generator.js";
import type { Recovery } from "../../../../src/daemon/inference/resume.js";
import { ResumingGenerator } from "../../../../src/daemon/inference/resuming-generator.js";
import { RingDriver } from "../../../../src/daemon/inference/ring-driver.js";
import { defaultSchedulerLimits } from "../../../../src/daemon/inference/scheduler-types.js";
import { FakeWorker } from "./fake-worker.js";
import { undisturbed } from "./ring-model.js";
import { defaultPlan } from "./scheduler-world.js";

const epoch: Epoch = { counter: 3, nodeId: nodeId("a".repeat(32)) };
const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => { for (const close of closers.splice(0).toReversed()) await close(); });

const never = new AbortController().signal;

function wish(overrides: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    requestId: "r1", modelId: "m", prompt: [5, 6, 7, 8], emitted: [], maxTokens: 20, stopTokens: [],
    sampling: { temperature: 0.5, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map([[3, -1]]), seed: 2 ** 52 + 1 },
    ...overrides,
  };
}
const expected = (request: GenerateRequest): number[] => undisturbed(request.prompt, { seed: request.sampling.seed, maxTokens: request.maxTokens, stopTokens: request.stopTokens, lengthMax: defaultPlan.contextMax });

async function collect(events: AsyncIterable<GenerateEvent>, onToken: (index: number) => void = () => undefined): Promise<{ tokens: number[]; reason: string }> {
  const tokens: number[] = [];
  let reason = "";
  for await (const event of events) {
    if (event.kind === "tokens") for (const { token, index } of event.tokens) { expect(index).toBe(tokens.length); tokens.push(token); onToken(index); }
    if (event.kind === "finished") reason = event.reason;
  }
  return { tokens, reason };
}

/** Rank 0: a driver over a model ring that comes back by itself when it is lost. */
function rankZero(options: { readonly stepTimeoutMs?: number } = {}) {
  const worker = new FakeWorker(defaultPlan);
  const lost: MinidError[] = [];
  const driver: RingDriver = new RingDriver({ clock: systemClock, limits: { ...defaultSchedulerLimits, prefixTokensMin: 4, ...options }, log: silentLog, onLost: (error) => { lost.push(error); start(); } });
  const start = (): void => { driver.start({ epoch, planVersion: 1, modelId: "m", plan: defaultPlan, worker }); };
  start();
  closers.push(() => { driver.stop("the test is over"); });
  return { worker, driver, lost, generator: new LocalGenerator(driver, systemClock) };
}

async function serve(leadership: () => Leadership) {
  const server = new grpc.Server();
  server.addService(agentService().service, { generate: generateHandler(leadership) });
  const port = await new Promise<number>((resolve, reject) => { server.bindAsync("127.0.0.1:0", insecureTransport.serverCredentials(), (error, bound) => { if (error) reject(error); else resolve(bound); }); });
  const client = connectGenerateClient(`127.0.0.1:${port}`, "", insecureTransport);
  closers.push(() => { client.close(); server.forceShutdown(); });
  return { client, server };
}

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadlineMs) throw new Error("the condition did not come true within 10 s");
    await new Promise((resolve) => { setImmediate(resolve); });
  }
}

describe("the local generator", () => {
  it("gives an answer to the highest claim: a lower one is refused while it is under way", async () => {
    const { generator } = rankZero();
    const claim = (counter: number) => ({ counter, nodeId: nodeId("b".repeat(32)) });
    const running = generator.generate(wish({ claim: claim(2) }), never)[Symbol.asyncIterator]();
    await running.next();
    await expect(collect(generator.generate(wish({ claim: claim(1) }), never))).rejects.toMatchObject({ code: "superseded", retryable: false });
    expect((await collect(generator.generate(wish({ claim: claim(3) }), never))).tokens).toEqual(expected(wish()));
  });

  it("streams the ring's tokens and says why it ended", async () => {
    const { generator } = rankZero();
    expect(await collect(generator.generate(wish(), never))).toEqual({ tokens: expected(wish()), reason: "length" });
  });

  it("serves sixty-four streams, of which a third is aborted, and holds nothing afterwards", async () => {
    const { generator, driver } = rankZero();
    await Promise.all(Array.from({ length: 64 }, async (_, number) => {
      const request = wish({ requestId: `r${number}`, prompt: [number, 1, 2, 3, 4, number], maxTokens: 5 + (number % 17) });
      const abort = new AbortController();
      const run = collect(generator.generate(request, abort.signal), (index) => { if (number % 3 === 0 && index === 2) abort.abort(); });
      if (number % 3 === 0) await expect(run).rejects.toMatchObject({ code: "cancelled" });
      else expect((await run).tokens).toEqual(expected(request));
    }));
    await until(() => driver.snapshot().stepsInFlight === 0);
    expect(driver.snapshot()).toMatchObject({ queued: 0, running: 0, slots: { active: 0 }, kvTokens: { reserved: 0 } });
  });

  it("frees the slot when the reader stops reading", async () => {
    const { generator, driver } = rankZero();
    for await (const event of generator.generate(wish({ maxTokens: 400 }), never)) if (event.kind === "tokens") break;
    await until(() => driver.snapshot().stepsInFlight === 0);
    expect(driver.snapshot().slots.active).toBe(0);
  });

  it("lets a later call for the same request take the place of the first", async () => {
    const { generator, worker } = rankZero();
    worker.hung = true;
    const first = collect(generator.generate(wish(), never));
    const second = collect(generator.generate(wish(), never));
    await expect(first).rejects.toMatchObject({ code: "cancelled" });
    worker.hung = false;
    worker.kill();
    await expect(second).rejects.toMatchObject({ code: "stage_lost" });
  });

  it("fails with stage_lost when a step hangs for longer than the bound, and the ring's owner is told", async () => {
    const { generator, worker, lost } = rankZero({ stepTimeoutMs: 150 });
    worker.hung = true;
    await expect(collect(generator.generate(wish(), never))).rejects.toMatchObject({ retryable: true });
    expect(lost[0]?.code).toBe("stage_lost");
  });

  it("refuses another model than the ring holds", async () => {
    await expect(collect(rankZero().generator.generate(wish({ modelId: "other" }), never))).rejects.toMatchObject({ code: "model_not_found" });
  });

  it("sends nothing to a ring that was started while it dealt with the loss of the former one", async () => {
    const { generator, worker, driver } = rankZero();
    const runs = Array.from({ length: 6 }, (_, number) => collect(generator.generate(wish({ requestId: `r${number}`, prompt: [number, 9], maxTokens: 50 }), never)));
    await until(() => driver.snapshot().running > 0);
    worker.kill();
    for (const run of runs) await expect(run).rejects.toMatchObject({ retryable: true });
    expect((await collect(generator.generate(wish({ requestId: "next" }), never))).tokens).toEqual(expected(wish()));
  });
});

describe("the remote generator", () => {
  it("gives what the local one gives, with logprobs and parameters unharmed", async () => {
    const { generator } = rankZero();
    const seen: GenerateRequest[] = [];
    const spy: Generator = { generate: (request, signal) => { seen.push(request); return generator.generate(request, signal); } };
    const { client } = await serve(() => ({ kind: "leads", epoch, generator: spy }));
    const request = wish({ sampling: { ...wish().sampling, topLogprobs: 3 }, priority: "batch", deadlineMs: 60_000 });
    const events: GenerateEvent[] = [];
    for await (const event of new RemoteGenerator(client, epoch).generate(request, never)) events.push(event);
    expect(seen).toEqual([request]);
    expect(events.flatMap((event) => (event.kind === "tokens" ? event.tokens : [])))
      .toEqual(expected(request).map((token, index) => ({ token, index, logprobs: { logprob: 0, top: [] } })));
    expect(events.at(0)).toEqual({ kind: "admitted", cachedPromptTokens: 0 });
    expect(events.at(-1)).toEqual({ kind: "finished", reason: "length", cachedPromptTokens: 0 });
  });

  it("frees the slot when the caller aborts", async () => {
    const { generator, driver } = rankZero();
    const { client } = await serve(() => ({ kind: "leads", epoch, generator }));
    const abort = new AbortController();
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish({ maxTokens: 480 }), abort.signal), () => { abort.abort(); })).rejects.toMatchObject({ code: "cancelled" });
    await until(() => driver.snapshot().slots.active === 0 && driver.snapshot().stepsInFlight === 0);
    expect(driver.snapshot().totals.decodedTokens).toBeLessThan(480);
  });

  it("carries a catalogued error with its details", async () => {
    const busy: Generator = { async *generate() { await Promise.resolve(); yield* []; throw new MinidError("queue_full", "full", { retryAfterSeconds: 7 }); } };
    const { client } = await serve(() => ({ kind: "leads", epoch, generator: busy }));
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish(), never))).rejects.toMatchObject({ code: "queue_full", message: "full", retryAfterSeconds: 7 });
  });

  it("is refused by a node that does not lead, and by one whose term is over", async () => {
    const { generator } = rankZero();
    let leadership: Leadership = { kind: "refuses", code: "no_leader", message: "mini1 leads." };
    const { client } = await serve(() => leadership);
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish(), never))).rejects.toMatchObject({ code: "no_leader", message: "mini1 leads." });
    leadership = { kind: "leads", epoch, generator };
    await expect(collect(new RemoteGenerator(client, { ...epoch, counter: 4 }).generate(wish(), never))).rejects.toMatchObject({ code: "no_leader" });
  });

  it("reports a server that breaks off as stage_lost", async () => {
    const { generator } = rankZero();
    const { client, server } = await serve(() => ({ kind: "leads", epoch, generator }));
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish({ maxTokens: 480 }), never), () => { server.forceShutdown(); })).rejects.toMatchObject({ code: "stage_lost" });
  });

  it("reports a node that nobody can reach as stage_lost", async () => {
    const { client, server } = await serve(() => ({ kind: "refuses", code: "no_leader", message: "" }));
    server.forceShutdown();
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish(), never))).rejects.toMatchObject({ code: "stage_lost" });
  });

  it("refuses a call that no front door of ours makes", async () => {
    const { generator } = rankZero();
    const { client } = await serve(() => ({ kind: "leads", epoch, generator }));
    await expect(collect(new RemoteGenerator(client, epoch).generate(wish({ prompt: [-1] }), never))).rejects.toMatchObject({ code: "invalid_value", param: "prompt" });
  });
});

describe("the resuming generator", () => {
  it("gives the undisturbed answer while the worker is killed again and again", async () => {
    const { generator, worker } = rankZero();
    const recoveries: Recovery[] = [];
    const names = new Set<string>();
    const { client } = await serve(() => ({ kind: "leads", epoch, generator }));
    const door = new ResumingGenerator({
      leaders: { ready: () => Promise.resolve(new RemoteGenerator(client, epoch)), whyNotReady: () => undefined },
      clock: systemClock, onRecovered: (recovery, name) => { recoveries.push(recovery); names.add(name); },
    });
    let answered = 0;
    worker.beforeAnswer = () => { answered += 1; if (answered % 13 === 0) worker.kill(); };
    const requests = Array.from({ length: 8 }, (_, number) => wish({ requestId: `r${number}`, clientRequestId: "client", prompt: [number, 3, 3, number], maxTokens: 40 }));
    const answers = await Promise.all(requests.map((request) => collect(door.generate(request, never))));
    expect(answers.map(({ tokens }) => tokens)).toEqual(requests.map(expected));
    expect(recoveries.length).toBeGreaterThan(0);
    expect(new Set(recoveries.map(({ cause }) => cause))).toContain("stage_lost");
    // What logs, traces and exemplars call it.
    expect(names).toEqual(new Set(["client"]));
  });

  it("waits for a leader, and fails at the deadline with what the cluster lacks", async () => {
    const door = new ResumingGenerator({
      leaders: {
        ready: async (signal) => { await once(signal, "abort"); throw new Error("aborted"); },
        whyNotReady: () => new MinidError("model_does_not_fit", "The model needs 3 GB more."),
      },
      clock: systemClock,
    });
    await expect(collect(door.generate(wish({ deadlineMs: 50 }), never))).rejects.toMatchObject({ code: "model_does_not_fit", retryable: true });
  });

  it("ends when the client goes away, also while it waits", async () => {
    const abort = new AbortController();
    const door = new ResumingGenerator({
      leaders: { ready: async (signal) => { queueMicrotask(() => { abort.abort(); }); await once(signal, "abort"); throw new Error("aborted"); }, whyNotReady: () => undefined },
      clock: systemClock,
    });
    await expect(collect(door.generate(wish(), abort.signal))).rejects.toMatchObject({ code: "cancelled" });
  });

  it("stops a call that outlives the deadline", async () => {
    const { generator, worker } = rankZero();
    worker.hung = true;
    const door = new ResumingGenerator({ leaders: { ready: () => Promise.resolve(generator), whyNotReady: () => undefined }, clock: systemClock });
    await expect(collect(door.generate(wish({ deadlineMs: 50 }), never))).rejects.toMatchObject({ code: "deadline_exceeded" });
  });
});
