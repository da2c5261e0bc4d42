/** Stages over two and three workers give the bits of one; and what a broken ring does. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { insecureTransport } from "../../../src/core/transport.js";
import { rawWorkerClient } from "../../../src/core/worker-client.js";
import type { CacheOp, PassFailure } from "../../../src/core/worker-protocol.js";
import { until } from "../../support/wait.js";
import { Driver, WorkerProcess, epochOf, generateAhead, layerCount, loadRequest, loadRing, open, someTokens, span, succeeded, tiny } from "./support.js";

const model = tiny("llama-8bit-rope3");
const vocabSize = 512;
const prompt = someTokens(40, vocabSize);

describe("a ring of workers", () => {
  let first: WorkerProcess, second: WorkerProcess, third: WorkerProcess;
  beforeAll(async () => { [first, second, third] = await Promise.all([WorkerProcess.start(), WorkerProcess.start(), WorkerProcess.start()]); });
  afterAll(async () => { await Promise.all([first, second, third].map((worker) => worker.clean())); });

  /** Three sequences at once: greedy, sampled with a seed, and sampled with penalties and a long prompt in odd chunks. */
  async function threeSequences(planVersion: number): Promise<unknown> {
    const driver = new Driver(first.client, undefined, planVersion);
    const results = await Promise.all([
      driver.generate(0, someTokens(5, vocabSize), 12),
      driver.generate(1, someTokens(17, vocabSize, 2), 12, { temperature: 0.9, topP: 0.95, seed: 77, topLogprobs: 3 }),
      driver.generate(2, someTokens(60, vocabSize, 3), 12, { temperature: 1.1, topK: 50, seed: 5, repetitionPenalty: 1.2, presencePenalty: 0.4 }, 23),
    ]);
    driver.close();
    return results;
  }

  it("gives the same tokens and the same logprobs, bit for bit, on one, two and three workers", async () => {
    const answers: unknown[] = [];
    for (const workers of [[first], [first, second], [first, second, third]]) {
      await loadRing(workers, model, { planVersion: workers.length });
      answers.push(await threeSequences(workers.length));
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
  });

  it("computes a sequence whose steps are sent ahead of its tokens, and fails those behind a step that fails", async () => {
    for (const workers of [[first], [first, second, third]]) {
      const planVersion = 4 + workers.length;
      await loadRing(workers, model, { planVersion });
      const driver = new Driver(first.client, undefined, planVersion);
      const wishes = { temperature: 0.8, seed: 4, frequencyPenalty: 0.3 };
      const [asked, ahead, beside] = await Promise.all([driver.generate(0, prompt, 10, wishes), generateAhead(driver, 1, prompt, 10, 3, wishes), generateAhead(driver, 2, prompt, 10, 1, wishes)]);
      expect(ahead.map((sampled) => ({ ...sampled, slot: 0 }))).toEqual(asked);
      expect(beside.map((sampled) => ({ ...sampled, slot: 0 }))).toEqual(asked);
      const failing = await Promise.all([driver.step([], [span(0, 500, [1], true)]), driver.step([], [span(1, prompt.length + 12, [], true)].map((one) => ({ ...one, rows: 1 })))]);
      expect(failing.map((result) => result.errorCode)).toEqual(["invalid_value", "stage_lost"]);
      driver.close();
    }
  });

  it("answers in the order of the steps, with several in flight and some refused", async () => {
    await loadRing([first, second, third], model, { planVersion: 10 });
    const driver = new Driver(first.client, undefined, 10);
    const results = await Promise.all(Array.from({ length: 12 }, (_, i) => {
      const slot = i % 3;
      // Every third step names a slot that the stage does not have.
      return driver.step([open(slot, prompt)], [span(slot === 2 ? 99 : slot, 0, prompt.slice(0, 20), true)]);
    }));
    expect(results.map((result) => result.errorCode)).toEqual(Array.from({ length: 12 }, (_, i) => (i % 3 === 2 ? "invalid_value" : "")));
    expect(driver.order).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    driver.close();
  });

  it("continues from a copied prefix with the bits of a fresh prefill", async () => {
    await loadRing([first, second], model, { planVersion: 20 });
    const driver = new Driver(first.client, undefined, 20);
    const [fresh] = await driver.generate(0, prompt, 1);
    const result = succeeded(await driver.step([{ op: "copy", copy: { from: 0, to: 3, length: 24 } }, open(3, prompt)], [span(3, 24, prompt.slice(24), true)]));
    expect(result.sampled[0]).toEqual({ ...fresh, slot: 3 });
    driver.close();
  });

  it("keeps a sequence's own sampling when its slot is given away while its step is in the ring", async () => {
    await loadRing([first, second, third], model, { planVersion: 25 });
    const driver = new Driver(first.client, undefined, 25);
    const alone = await driver.generate(0, prompt, 1, { temperature: 1, seed: 9 });
    const [old] = await Promise.all([
      driver.step([open(1, prompt, { temperature: 1, seed: 9 })], [span(1, 0, prompt, true)]),
      driver.step([{ op: "drop", drop: { slot: 1 } }, open(1, [1, 2, 3], { logitBias: { 5: 1e5 } })], [span(1, 0, [1, 2, 3], true)]).then((result) => { expect(succeeded(result).sampled[0]?.token).toBe(5); }),
    ]);
    expect(succeeded(old).sampled[0]).toEqual({ ...alone[0], slot: 1 });
    driver.close();
  });

  it("finds every slot empty when a new plan takes over the loaded stage, and keeps them for the same plan", async () => {
    const layers = await layerCount(model);
    const load = (planVersion: number) => first.client.load(loadRequest(model, layers, { planVersion }));
    await load(30);
    const driver = new Driver(first.client, undefined, 30);
    const [last] = await driver.generate(0, prompt, 1);
    expect((await load(30)).reused).toBe(true);
    succeeded(await driver.step([], [span(0, prompt.length, [last?.token ?? 0], true)]));
    expect((await load(31)).reused).toBe(true);
    const old = await driver.step([], [span(0, prompt.length, [1], true)]);
    expect(old.errorCode).toBe("stale_epoch");
    const next = new Driver(first.client, undefined, 31);
    const lost = await next.step([open(0, prompt)], [span(0, prompt.length, [1], true)]);
    expect(lost.errorCode).toBe("stage_lost");
    next.close();
  });

  it("lets a newer scheduler's stream take over from an older one", async () => {
    await loadRing([first], model, { planVersion: 40 });
    const older = new Driver(first.client, undefined, 40);
    await older.generate(0, prompt, 1);
    const newer = new Driver(first.client, undefined, 40);
    await newer.generate(1, prompt, 1);
    expect(await until("the older stream ends", () => (older.ended === "open" ? undefined : older.ended))).toMatchObject({ code: "stale_epoch" });
    newer.close();
  });
});

describe("a rank behind rank 0", () => {
  it("computes frames of the run that began last only, in order, whatever connection they come by", async () => {
    const [first, second] = await Promise.all([WorkerProcess.start(), WorkerProcess.start()]);
    try {
      await loadRing([first, second], model);
      const drops: readonly CacheOp[] = [{ op: "drop", drop: { slot: 0 } }];
      const clients = [0, 1].map(() => rawWorkerClient(second.address, "", insecureTransport));
      const [older, younger] = clients.map((client) => client.pass());
      const refused: number[] = [];
      for (const call of [older, younger]) call?.on("data", (failure: PassFailure) => { expect(failure.errorCode).toBe("stage_lost"); refused.push(failure.stepSeq); }).on("error", () => undefined);
      const send = (call: typeof older, run: number, place: number) => { call?.write({ epoch: epochOf(1), planVersion: 1, run, place, stepSeq: run * 100 + place, ops: drops, spans: [], hidden: new Uint8Array(0), times: [] }); };
      send(older, 1, 1);
      send(older, 1, 3);
      await until("the gap is noticed", () => refused.includes(103) || undefined);
      send(younger, 2, 1);
      send(younger, 2, 3);
      await until("the younger run has begun", () => refused.includes(203) || undefined);
      send(older, 1, 2);
      await until("the older run is over", () => refused.includes(102) || undefined);
      expect(refused).toEqual([103, 203, 102]);
      for (const client of clients) client.close();
    } finally { await Promise.all([first.clean(), second.clean()]); }
  });
});

describe("a broken ring", () => {
  const workers: WorkerProcess[] = [];
  afterEach(async () => { await Promise.all(workers.splice(0).map((worker) => worker.clean())); });

  it.each(["SIGKILL", "SIGSTOP"] as const)("reports stage_lost for the steps in flight after %s of the last rank, and computes again once that rank is back", async (signal) => {
    const started = await Promise.all([WorkerProcess.start(), WorkerProcess.start(), WorkerProcess.start()]);
    workers.push(...started);
    const [first, second, third] = started;
    await loadRing(started, model);
    const driver = new Driver(first.client);
    const undisturbed = await driver.generate(0, prompt, 4);
    third.child.kill(signal);
    const lost = await Promise.all([driver.step([open(1, prompt)], [span(1, 0, prompt, true)]), driver.step([open(2, prompt)], [span(2, 0, prompt, true)])]);
    expect(lost.map((result) => result.errorCode)).toEqual(["stage_lost", "stage_lost"]);
    third.child.kill("SIGKILL");
    await third.exited;
    const successor = await WorkerProcess.start({ home: third.home, port: third.port });
    workers.push(successor);
    await loadRing([first, second, successor], model);
    const after = await driver.step([open(0, prompt)], [span(0, 0, prompt, true)]);
    expect(after.errorCode).toBe("stage_lost");
    const again = await until("the ring computes again", async () => {
      const successive = new Driver(first.client);
      try { return await successive.generate(0, prompt, 4); } catch { return undefined; } finally { successive.close(); }
    });
    expect(again).toEqual(undisturbed);
    driver.close();
  });

  it.each([0, 1, 2])("computes again only on rank %i that died, and goes on with the bits of an undisturbed ring", async (rank) => {
    const ring = await Promise.all([WorkerProcess.start(), WorkerProcess.start(), WorkerProcess.start()]);
    workers.push(...ring);
    await loadRing(ring, model);
    const wishes = { temperature: 0.9, seed: 21, frequencyPenalty: 0.3 };
    const before = new Driver(ring[0].client);
    const undisturbed = await before.generate(1, prompt, 12, wishes);
    const drops = Array.from({ length: 8 }, (_, slot): CacheOp => ({ op: "drop", drop: { slot } }));
    succeeded(await before.step(drops, []));
    const begun = await before.generate(0, prompt, 6, wishes);
    const { run = 0 } = succeeded(await before.step([], []));
    before.close();
    const dead = ring[rank]!;
    dead.child.kill("SIGKILL");
    await dead.exited;
    ring[rank] = await WorkerProcess.start({ home: dead.home, port: dead.port });
    workers.push(ring[rank]);
    await loadRing(ring, model);

    const known = [...prompt, ...begun.map(({ token }) => token)];
    const length = known.length - 1;
    const emitted = await until("the ring computes again", async () => {
      const after = new Driver(ring[0].client);
      try {
        const asked = succeeded(await after.step(drops.slice(1), [], { runs: [run], slots: [{ slot: 0, length }] }));
        expect(asked.held).toEqual([0, 1, 2].map((one) => ({ rank: one, slots: one === rank ? [] : [0] })));
        const kept = (first: number, end: number) => ({ ...span(0, first, known.slice(first, end), false), lacking: [rank] });
        succeeded(await after.step([open(0, known, wishes)].map((op) => (op.op === "open" ? { ...op, open: { ...op.open, promptLength: prompt.length } } : op)), [kept(0, 20)]));
        succeeded(await after.step([], [kept(20, length)]));
        const sampled: unknown[] = [];
        for (let position = length, token = known.at(-1) ?? 0; sampled.length < 6; position += 1) {
          const [next] = succeeded(await after.step([], [span(0, position, [token], true)])).sampled;
          sampled.push({ ...next, slot: 1 });
          token = next?.token ?? 0;
        }
        return sampled;
      } catch (error) {
        if (error instanceof Error && error.message.includes("stage_lost")) return undefined;
        throw error;
      } finally { after.close(); }
    });
    expect(emitted).toEqual(undisturbed.slice(6));
  });
});
