/** Schedulers over real workers, and what they are asked: shared by the tests of this folder. */
import { systemClock } from "../../../src/core/clock.js";
import { silentLog } from "../../../src/core/log.js";
import type { GenerateRequest, GeneratedToken, Generator } from "../../../src/daemon/inference/generate.js";
import { LocalGenerator } from "../../../src/daemon/inference/local-generator.js";
import { RingDriver } from "../../../src/daemon/inference/ring-driver.js";
import { type RingPlan, defaultSchedulerLimits } from "../../../src/daemon/inference/scheduler-types.js";
import { type WorkerProcess, epochOf, someTokens } from "../worker/support.js";

export const vocabSize = 512;
export const plan: RingPlan = { worldSize: 1, slots: 8, kvTokensMax: 1_024, contextMax: 256, batchMax: 4, prefillChunk: 32, engineReplay: "prefill" };

export interface Answer { readonly tokens: readonly GeneratedToken[]; readonly cachedPromptTokens: number; readonly reason: string }

export async function collect(generator: Generator, request: GenerateRequest, onToken: (token: GeneratedToken) => void = () => undefined): Promise<Answer> {
  const tokens: GeneratedToken[] = [];
  for await (const event of generator.generate(request, new AbortController().signal)) {
    if (event.kind === "tokens") for (const token of event.tokens) { tokens.push(token); onToken(token); }
    if (event.kind === "finished") return { tokens, cachedPromptTokens: event.cachedPromptTokens, reason: event.reason };
  }
  throw new Error("the answer did not finish");
}

/** Requests of every kind: greedy, seeded, with penalties, with logprobs; short and long prompts. */
export const requests: GenerateRequest[] = Array.from({ length: 10 }, (_, number) => ({
  requestId: `r${number}`, modelId: "test/model", prompt: someTokens(3 + number * 9, vocabSize, number), emitted: [], maxTokens: 12 + number * 3, stopTokens: [],
  sampling: {
    temperature: number % 3 === 0 ? 0 : 0.9, topK: number % 4 === 1 ? 40 : 0, topP: 0.95, minP: 0, repetitionPenalty: number % 2 === 0 ? 1.15 : 1,
    frequencyPenalty: 0.2, presencePenalty: 0.1, logitBias: new Map(number === 5 ? [[17, 3]] : []), seed: 2 ** 40 + number, topLogprobs: 2,
  },
}));

export interface Driven { readonly driver: RingDriver; readonly local: LocalGenerator }

/** A scheduler of its own on rank 0's worker, started. */
export function driveRing(worker: WorkerProcess, worldSize: number, planVersion: number, onLost: () => void = () => undefined): Driven {
  const driver = new RingDriver({ clock: systemClock, limits: { ...defaultSchedulerLimits, mixedPrefillTokens: 16 }, log: silentLog, onLost });
  driver.start({ epoch: epochOf(1), planVersion, modelId: "test/model", plan: { ...plan, worldSize }, worker: worker.client });
  return { driver, local: new LocalGenerator(driver, systemClock) };
}
