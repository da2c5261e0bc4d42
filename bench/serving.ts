/**
 * What serving costs on this machine: the engine alone, one node through HTTP, and two nodes on the same machine with the same
 * cores a step. `npm run bench`; prints a table and one line of JSON.
 *
 * All three are up at once and take turns within each round, and every ratio is the median of the rounds' own ratios: what else
 * the machine does at the time hits both sides of it. Rates exclude the first token. "engine" steps the stage in this process,
 * without worker, scheduler or HTTP.
 */
import { availableParallelism } from "node:os";
import { openCheckpoint } from "../src/model/checkpoint.js";
import { resolveModel } from "../src/model/store.js";
import { createEngine } from "../src/worker/engines/create.js";
import type { Stage } from "../src/worker/engines/engine.js";
import { median } from "../test/soak/slope.js";
import { type Answer } from "../test/support/answer.js";
import { type Cluster, startCluster } from "../test/support/cluster.js";

const batches = [1, 2, 4, 8];
const promptTokens = 512;
const contextTokens = 64;
const decodeTokens = 64;
const rounds = 3;

const seconds = (work: () => void): number => { const from = performance.now(); work(); return (performance.now() - from) / 1_000; };

/** Tokens per second. */
interface Served { prefill(round: number): Promise<number>; decode(batch: number, round: number): Promise<number> }

function servedByEngine(stage: Stage): Served {
  return {
    prefill: () => Promise.resolve(promptTokens / seconds(() => { prefillOnce(stage, 0, promptTokens); })),
    decode: (batch) => {
      for (let slot = 0; slot < batch; slot += 1) prefillOnce(stage, slot, contextTokens);
      return Promise.resolve(batch * decodeTokens / seconds(() => { decodeOnce(stage, batch, contextTokens, decodeTokens); }));
    },
  };
}

function prefillOnce(stage: Stage, slot: number, length: number): void {
  for (let position = 0; position < length; position += 128) {
    const rows = Math.min(128, length - position);
    const tokens = Int32Array.from({ length: rows }, (_, index) => 1_000 + ((position + index) * 37) % 20_000);
    stage.forward([{ slot, position, rows }], stage.embed(tokens), () => undefined);
  }
}

function decodeOnce(stage: Stage, batch: number, from: number, count: number): void {
  let tokens = Int32Array.from({ length: batch }, (_, slot) => 2_000 + slot);
  for (let step = 0; step < count; step += 1) {
    const spans = Array.from({ length: batch }, (_, slot) => ({ slot, position: from + step, rows: 1 }));
    const logits = stage.head(stage.forward(spans, stage.embed(tokens), () => undefined));
    const vocabulary = logits.length / batch;
    tokens = tokens.map((_, slot) => greedy(logits.subarray(slot * vocabulary, (slot + 1) * vocabulary)));
  }
}

function greedy(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token += 1) if (logits[token]! > logits[best]!) best = token;
  return best;
}

interface Timed { readonly answer: Answer; readonly firstMs: number }

async function ask(cluster: Cluster, prompt: string, maxTokens: number): Promise<Timed> {
  const from = performance.now();
  let firstMs = 0;
  const extra = { logprobs: false, logit_bias: {}, ignore_eos: true };
  const answer = await cluster.nodes[0]!.ask({ prompt, maxTokens, extra }, { onText: () => { firstMs ||= performance.now() - from; } });
  return { answer, firstMs };
}

function servedByCluster(cluster: Cluster): Served {
  return {
    prefill: async (round) => {
      const { answer, firstMs } = await ask(cluster, `${round} `.repeat(promptTokens / 2), 2);
      return answer.promptTokens / (firstMs / 1_000);
    },
    decode: async (batch, round) => {
      const answers = await Promise.all(Array.from({ length: batch }, (_, index) => ask(cluster, `Story ${round}.${index}: once upon a time`, decodeTokens)));
      const windowMs = Math.max(...answers.map(({ answer, firstMs }) => answer.totalMs - firstMs));
      return answers.reduce((sum, { answer }) => sum + answer.completionTokens - 1, 0) / (windowMs / 1_000);
    },
  };
}

const names = ["engine", "one", "two"] as const;
type Rates = Record<(typeof names)[number], number[]>;
const noRates = (): Rates => ({ engine: [], one: [], two: [] });

/** `of` over `to`, round by round. */
const ratio = (of: readonly number[], to: readonly number[]): number => median(of.map((value, round) => value / (to[round] ?? Number.NaN)));

const threads = availableParallelism();
const { directory } = await resolveModel("SmolLM2-135M-Instruct-8bit", "");
const checkpoint = await openCheckpoint(directory);
const engine = await createEngine("onnx");
const stage = await engine.load({ checkpoint, layers: { first: 0, end: checkpoint.spec.layerCount }, ownsText: true, numerics: "fast", threads, slots: 8, contextMax: 2_048, batchMax: 8 });
const settings = { threads };
const one = await startCluster({ nodes: 1, settings });
const two = await startCluster({ nodes: 2, settings }).catch(async (error: unknown) => { await one.stop(); throw error; });
const ttft: Record<"one" | "two", number[]> = { one: [], two: [] };
const prefill = noRates();
const decode: Record<number, Rates> = Object.fromEntries(batches.map((batch) => [batch, noRates()]));
try {
  const served = { engine: servedByEngine(stage), one: servedByCluster(one), two: servedByCluster(two) };
  // Every batch size makes its graph when it is first met.
  for (const batch of batches) for (const name of names) await served[name].decode(batch, -1);
  for (let round = 0; round < rounds; round += 1) {
    ttft.one.push((await ask(one, `Hello number ${round}.`, 2)).firstMs);
    ttft.two.push((await ask(two, `Hello number ${round}.`, 2)).firstMs);
    for (const name of names) prefill[name].push(await served[name].prefill(round));
    for (const batch of batches) for (const name of names) decode[batch]![name].push(await served[name].decode(batch, round));
  }
} finally {
  await Promise.all([one.stop(), two.stop()]);
  stage.dispose();
  await checkpoint.close();
}

const number = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(value < 10 ? 2 : 0)).padStart(11);
const row = (name: string, ...values: (number | undefined)[]): string => `${name.padEnd(28)}${values.map(number).join("")}`;
const rates = (name: string, { engine: alone, one: first, two: second }: Rates): string => row(name, median(alone), median(first), median(second), ratio(first, alone), ratio(second, first));
console.log(`${" ".repeat(28)}     engine   one node  two nodes  1n/engine      2n/1n`);
console.log(row("time to first token, ms", undefined, median(ttft.one), median(ttft.two)));
console.log(rates("prefill, tok/s", prefill));
for (const batch of batches) console.log(rates(`decode, ${batch} at once, tok/s`, decode[batch]!));
const ratios = {
  httpToEngine: ratio(decode[1]!.one, decode[1]!.engine),
  batch8ToBatch1: ratio(decode[8]!.one, decode[1]!.one),
  twoNodesToOne: ratio(decode[1]!.two, decode[1]!.one),
  twoNodesToOneBatch8: ratio(decode[8]!.two, decode[8]!.one),
};
for (const [name, value] of Object.entries(ratios)) console.log(row(name, value));
console.log(JSON.stringify({ threads, ttft, prefill, decode, ratios }));
