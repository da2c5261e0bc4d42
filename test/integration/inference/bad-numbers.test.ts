/**
 * Numbers gone bad, and then a lost ring. In this copy of a model one token's embedding is infinite: a sequence that reads that token, from its
 * prompt or because it said it, fails alone, and the others beside it come out as if it had not been there, over the death of a worker too.
 */
import { cp, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../../src/core/clock.js";
import type { GenerateRequest, GeneratedToken, Generator } from "../../../src/daemon/inference/generate.js";
import { ResumingGenerator } from "../../../src/daemon/inference/resuming-generator.js";
import type { RingDriver } from "../../../src/daemon/inference/ring-driver.js";
import { openCheckpoint } from "../../../src/model/checkpoint.js";
import { until } from "../../support/wait.js";
import { WorkerProcess, epochOf, loadRing, tiny } from "../worker/support.js";
import { collect, driveRing, plan, requests, vocabSize } from "./support.js";

/** In no prompt of `requests`, and never sampled: forbidden there. */
const badToken = vocabSize - 1;
const bfloat16Infinity = Buffer.of(0x80, 0x7f);
const sound = requests.slice(1, 7).map((request): GenerateRequest => ({ ...request, prompt: request.prompt.map((token) => (token === badToken ? 7 : token)), sampling: { ...request.sampling, logitBias: new Map([[badToken, -100]]) } }));
/** Reads it in the first chunk, in a later one, as its last token, and because it says it itself. */
const bad: readonly GenerateRequest[] = [
  { at: 2, length: 30 }, { at: 40, length: 60 }, { at: 19, length: 20 }, { at: -1, length: 12 },
].map(({ at, length }, number): GenerateRequest => {
  const base = sound[number]!;
  const prompt = Array.from({ length }, (_, index) => (index === at ? badToken : 20 + number));
  return { ...base, requestId: `bad${number}`, prompt, sampling: { ...base.sampling, logitBias: new Map(at < 0 ? [[badToken, 100]] : []) } };
});

let model: string;
const workers: WorkerProcess[] = [];
const drivers: RingDriver[] = [];
const alone = new Map<string, readonly GeneratedToken[]>();

beforeAll(async () => {
  model = await mkdtemp(join(tmpdir(), "minid-infinite-"));
  await cp(tiny("qwen3-8bit"), model, { recursive: true, filter: (file) => !file.includes(".minid-") });
  const checkpoint = await openCheckpoint(model);
  const { embedding, head } = checkpoint;
  if (embedding.kind !== "affine" || embedding === head) throw new Error("an embedding of its own is wanted, or the logits would be infinite");
  const { file, offset, byteLength } = embedding.scales;
  await checkpoint.close();
  const rowBytes = byteLength / vocabSize;
  const handle = await open(file, "r+");
  for (let at = 0; at < rowBytes; at += 2) await handle.write(bfloat16Infinity, 0, 2, offset + badToken * rowBytes + at);
  await handle.close();
  workers.push(...await Promise.all([WorkerProcess.start(), WorkerProcess.start(), WorkerProcess.start()]));
  await loadRing(workers.slice(0, 1), model, { planVersion: 1 });
  for (const request of sound) {
    const { driver, local } = driveRing(workers[0]!, 1, 1);
    alone.set(request.requestId, (await collect(local, request)).tokens);
    driver.stop("done");
  }
});
afterAll(async () => {
  for (const driver of drivers) driver.stop("the test is over");
  await Promise.all(workers.map((worker) => worker.clean()));
  await rm(model, { recursive: true, force: true });
});

it.each([1, 2])("fails those sequences alone, and carries the others over the death of rank %i with what the survivors kept", async (victim) => {
  const ring = workers.slice(0, 3);
  const planVersion = 1 + victim;
  await loadRing(ring, model, { planVersion });
  const waiting: ((generator: Generator) => void)[] = [];
  let lost = false;
  let killed: WorkerProcess | undefined;
  let recovered = Promise.resolve();
  /** A busy machine may lose a ring of which no worker died: then there is nobody to start again. */
  const recover = async (): Promise<void> => {
    const old = workers[victim]!;
    if (killed === old) {
      await killed.exited;
      workers[victim] = await WorkerProcess.start({ home: old.home, port: old.port });
    }
    await loadRing(workers.slice(0, 3), model, { planVersion });
    driver.start({ epoch: epochOf(1), planVersion, modelId: "test/model", plan: { ...plan, worldSize: 3 }, worker: workers[0]!.client });
    lost = false;
    for (const tell of waiting.splice(0)) tell(local);
  };
  const { driver, local } = driveRing(workers[0]!, 3, planVersion, () => { lost = true; recovered = recover(); });
  drivers.push(driver);
  const leaders = { ready: () => (lost ? new Promise<Generator>((resolve) => { waiting.push(resolve); }) : Promise.resolve(local)), whyNotReady: () => undefined };
  const door = new ResumingGenerator({ leaders, clock: systemClock });

  const failures: Promise<string>[] = [];
  /** The token said before it is read does arrive. */
  const fail = (round: number): void => {
    for (const request of bad) failures.push(collect(door, { ...request, requestId: `${request.requestId}.${round}` }).then(() => "answered", (error: { code: string }) => error.code));
  };
  let tokens = 0;
  fail(0);
  const answers = await Promise.all(sound.map((request) => collect(door, request, () => {
    tokens += 1;
    // Bad ones are under way when the worker dies, and come again once it is back.
    if (tokens === 30) fail(1);
    if (tokens === 36) { killed = workers[victim]; killed?.child.kill("SIGKILL"); fail(2); }
    if (tokens === 70) fail(3);
  })));
  await recovered;
  for (const [number, request] of sound.entries()) expect(answers[number]?.tokens).toEqual(alone.get(request.requestId));
  expect(await Promise.all(failures)).toEqual(failures.map(() => "output_not_finite"));
  expect(killed).toBeDefined();
  await until("nothing is in flight", () => driver.snapshot().stepsInFlight === 0);
  expect(driver.snapshot()).toMatchObject({ running: 0, queued: 0, slots: { active: 0 }, kvTokens: { reserved: 0 } });
  driver.stop("done");
  // In the slots of those that failed there is nothing left that another one would meet.
  const again = driveRing(workers[0]!, 3, planVersion);
  const after = await Promise.all(sound.map((request) => collect(again.local, request)));
  for (const [number, request] of sound.entries()) expect(after[number]?.tokens).toEqual(alone.get(request.requestId));
  again.driver.stop("done");
}, 240_000);
