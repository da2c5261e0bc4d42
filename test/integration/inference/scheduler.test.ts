/** The scheduler over real workers and a real engine: batching, prefix sharing and resuming change no token. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/core/clock.js";
import type { GenerateRequest, GeneratedToken, Generator } from "../../../src/daemon/inference/generate.js";
import type { Recovery } from "../../../src/daemon/inference/resume.js";
import { ResumingGenerator } from "../../../src/daemon/inference/resuming-generator.js";
import type { RingDriver } from "../../../src/daemon/inference/ring-driver.js";
import { until } from "../../support/wait.js";
import { WorkerProcess, epochOf, loadRing, someTokens, tiny } from "../worker/support.js";
import { type Driven, collect, driveRing, plan, requests, vocabSize } from "./support.js";

const model = tiny("llama-8bit-rope3");
const workers: WorkerProcess[] = [];
const drivers: RingDriver[] = [];
const undisturbed = new Map<string, readonly GeneratedToken[]>();

function drive(worker: WorkerProcess, worldSize: number, planVersion: number, onLost?: () => void): Driven {
  const driven = driveRing(worker, worldSize, planVersion, onLost);
  drivers.push(driven.driver);
  return driven;
}

describe("the scheduler over real workers", () => {
  let first: WorkerProcess;
  let second: WorkerProcess;
  beforeAll(async () => {
    [first, second] = await Promise.all([WorkerProcess.start(), WorkerProcess.start()]);
    workers.push(first, second);
    await loadRing([first], model, { planVersion: 1 });
    for (const request of requests) {
      const { driver, local } = drive(first, 1, 1);
      undisturbed.set(request.requestId, (await collect(local, request)).tokens);
      driver.stop("done");
    }
  });
  afterAll(async () => {
    for (const driver of drivers) driver.stop("the test is over");
    await Promise.all(workers.map((worker) => worker.clean()));
  });

  const alone = (request: GenerateRequest): readonly GeneratedToken[] => undisturbed.get(request.requestId) ?? [];

  it("gives ten sequences at once the tokens and logprobs that each has alone", async () => {
    await loadRing([first], model, { planVersion: 2 });
    const { driver, local } = drive(first, 1, 2);
    const answers = await Promise.all(requests.map((request) => collect(local, request)));
    for (const [number, request] of requests.entries()) expect(answers[number]?.tokens).toEqual(alone(request));
    await until("nothing is in flight", () => driver.snapshot().stepsInFlight === 0);
    expect(driver.snapshot()).toMatchObject({ running: 0, queued: 0, slots: { active: 0 }, kvTokens: { reserved: 0 } });
    driver.stop("done");
  });

  it("gives them over two workers with two steps in flight, too", async () => {
    await loadRing([first, second], model, { planVersion: 3 });
    const { driver, local } = drive(first, 2, 3);
    const answers = await Promise.all(requests.map((request) => collect(local, request)));
    for (const [number, request] of requests.entries()) expect(answers[number]?.tokens).toEqual(alone(request));
    driver.stop("done");
  });

  it("changes no token where a prefix is shared: four answers to one prompt, and the next turn of a conversation", async () => {
    await loadRing([first], model, { planVersion: 4 });
    const { driver, local } = drive(first, 1, 4);
    const long = requests[8];
    if (!long) throw new Error("no request");
    const seeds = [1, 2, 3, 4].map((seed): GenerateRequest => ({ ...long, requestId: `s${seed}`, sampling: { ...long.sampling, temperature: 1, seed } }));
    const together = await Promise.all(seeds.map((request) => collect(local, request)));
    expect(driver.snapshot().totals.prefillTokens).toBe(long.prompt.length + 3 * 2);
    const turn: GenerateRequest = { ...long, requestId: "turn", prompt: [...long.prompt, ...(together[0]?.tokens.map(({ token }) => token) ?? []), ...someTokens(9, vocabSize, 3)] };
    const next = await collect(local, turn);
    expect(next.cachedPromptTokens).toBeGreaterThan(long.prompt.length);
    driver.stop("done");

    for (const [number, request] of [...seeds, turn].entries()) {
      const fresh = drive(first, 1, 4);
      const answer = await collect(fresh.local, request);
      expect(answer.cachedPromptTokens).toBe(0);
      expect([...together, next][number]?.tokens).toEqual(answer.tokens);
      fresh.driver.stop("done");
    }
  });

  it("carries ten answers over the death of a later rank without a lost, repeated or different token", async () => {
    await loadRing([first, second], model, { planVersion: 5 });
    const recoveries: Recovery[] = [];
    const waiting: ((generator: Generator) => void)[] = [];
    let lost = false;
    const { driver, local } = drive(first, 2, 5, () => { lost = true; recovered = recover(); });
    let recovered = Promise.resolve();
    const recover = async (): Promise<void> => {
      await second.exited;
      const successor = await WorkerProcess.start({ home: second.home, port: second.port });
      workers.push(successor);
      await loadRing([first, successor], model, { planVersion: 6 });
      driver.start({ epoch: epochOf(1), planVersion: 6, modelId: "test/model", plan: { ...plan, worldSize: 2 }, worker: first.client });
      lost = false;
      for (const tell of waiting.splice(0)) tell(local);
    };
    const leaders = { ready: () => (lost ? new Promise<Generator>((resolve) => { waiting.push(resolve); }) : Promise.resolve(local)), whyNotReady: () => undefined };
    const door = new ResumingGenerator({ leaders, clock: systemClock, onRecovered: (recovery) => { recoveries.push(recovery); } });
    let tokens = 0;
    const answers = await Promise.all(requests.map((request) => collect(door, request, () => {
      tokens += 1;
      if (tokens === 60) second.child.kill("SIGKILL");
    })));
    for (const [number, request] of requests.entries()) expect(answers[number]?.tokens).toEqual(alone(request));
    await recovered;
    expect(recoveries.length).toBeGreaterThan(0);
    expect(driver.snapshot().totals.replayedTokens).toBeGreaterThan(0);
    driver.stop("done");
  });

  it("refuses a request that a worker finds wrong without disturbing the others", async () => {
    await loadRing([first], model, { planVersion: 7 });
    let restarts = 0;
    const start = (): void => { restarts += 1; driver.start({ epoch: epochOf(1), planVersion: 7, modelId: "test/model", plan, worker: first.client }); };
    const { driver, local } = drive(first, 1, 7, start);
    const door = new ResumingGenerator({ leaders: { ready: () => Promise.resolve(local), whyNotReady: () => undefined }, clock: systemClock });
    const request = requests[9];
    if (!request) throw new Error("no request");
    let wrong: Promise<unknown> | undefined;
    const answer = await collect(door, request, ({ index }) => {
      if (index !== 4) return;
      wrong = collect(door, { ...request, requestId: "wrong", prompt: [1, 2, vocabSize + 5] });
      wrong.catch(() => undefined);
    });
    await expect(wrong).rejects.toMatchObject({ code: "invalid_value" });
    expect(answer.tokens).toEqual(alone(request));
    expect(restarts).toBe(1);
    driver.stop("done");
  });
});
