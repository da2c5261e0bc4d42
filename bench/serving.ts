/**
 * What serving costs and gives on this machine, all ratios from one run: the engine alone, one node through HTTP, and two nodes on
 * the same machine with the same cores a step. `npm run bench`; prints a table and one line of JSON.
 *
 * Rates exclude the first token. "engine" steps the stage in this process, without worker, scheduler or HTTP.
 */
import { availableParallelism } from "node:os";
import { openCheckpoint } from "../src/model/checkpoint.js";
import { resolveModel } from "../src/model/store.js";
import { createEngine } from "../src/worker/engines/create.js";
import type { Stage } from "../src/worker/engines/engine.js";
import { type Answer } from "../test/support/answer.js";
import { type Cluster, startCluster } from "../test/support/cluster.js";

const batches = [1, 2, 4, 8];
const promptTokens = 512;
const decodeTokens = 96;
const rounds = 3;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

async function engineRates(threads: number): Promise<{ prefill: number; decode: Record<number, number>; loadMs: number }> {
  const { directory } = await resolveModel("SmolLM2-135M-Instruct-8bit", "");
  const checkpoint = await openCheckpoint(directory);
  const engine = await createEngine("onnx");
  const startedAt = performance.now();
  const stage = await engine.load({ checkpoint, layers: { first: 0, end: checkpoint.spec.layerCount }, ownsText: true, numerics: "fast", threads, slots: 8, contextMax: 2_048, batchMax: 8 });
  const loadMs = performance.now() - startedAt;
  const prefill = median(Array.from({ length: rounds }, () => promptTokens / seconds(() => prefillOnce(stage, 0, promptTokens))));
  const decode = Object.fromEntries(batches.map((batch) => {
    for (let slot = 0; slot < batch; slot += 1) prefillOnce(stage, slot, 64);
    decodeOnce(stage, batch, 64, 4);
    return [batch, median(Array.from({ length: rounds }, () => batch * decodeTokens / seconds(() => decodeOnce(stage, batch, 64, decodeTokens))))];
  }));
  stage.dispose();
  await checkpoint.close();
  return { prefill, decode, loadMs };
}

const seconds = (work: () => void): number => { const from = performance.now(); work(); return (performance.now() - from) / 1_000; };

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

interface Served { readonly ttftMs: number; readonly prefill: number; readonly decode: Record<number, number> }

async function servedRates(cluster: Cluster): Promise<Served> {
  const [node] = cluster.nodes;
  const ask = async (prompt: string, maxTokens: number): Promise<{ answer: Answer; firstMs: number }> => {
    const from = performance.now();
    let firstMs = 0;
    const answer = await node!.ask({ prompt, maxTokens, extra: { logprobs: false } }, { onText: () => { firstMs ||= performance.now() - from; } });
    return { answer, firstMs };
  };
  await ask("Warm up, please.", 16);
  const short: number[] = [];
  const long: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    short.push((await ask(`Hello number ${round}.`, 2)).firstMs);
    const { answer, firstMs } = await ask(`${round} `.repeat(promptTokens / 2), 2);
    long.push(answer.promptTokens / (firstMs / 1_000));
  }
  const decode: Record<number, number> = {};
  for (const batch of batches) {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const answers = await Promise.all(Array.from({ length: batch }, (_, index) => ask(`Story ${round}.${index}: once upon a time`, decodeTokens)));
      const windowMs = Math.max(...answers.map(({ answer, firstMs }) => answer.totalMs - firstMs));
      rates.push(answers.reduce((sum, { answer }) => sum + answer.completionTokens - 1, 0) / (windowMs / 1_000));
    }
    decode[batch] = median(rates);
  }
  return { ttftMs: median(short), prefill: median(long), decode };
}

async function measured(nodes: number, threads: number): Promise<Served> {
  const cluster = await startCluster({ nodes, settings: { threads } });
  try { return await servedRates(cluster); } finally { await cluster.stop(); }
}

const threads = availableParallelism();
const engine = await engineRates(threads);
const one = await measured(1, threads);
const two = await measured(2, threads);

const number = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(value < 10 ? 2 : 0)).padStart(9);
const row = (name: string, ...values: (number | undefined)[]): string => `${name.padEnd(34)}${values.map(number).join("")}`;
console.log(row("", undefined) + "   engine  one node two nodes");
console.log(row("time to first token, ms", undefined, undefined, one.ttftMs, two.ttftMs));
console.log(row("prefill, tok/s", undefined, engine.prefill, one.prefill, two.prefill));
for (const batch of batches) console.log(row(`decode, ${batch} at once, tok/s`, undefined, engine.decode[batch], one.decode[batch], two.decode[batch]));
const ratios = {
  httpToEngine: one.decode[1]! / engine.decode[1]!,
  batch8ToBatch1: one.decode[8]! / one.decode[1]!,
  twoNodesToOne: two.decode[1]! / one.decode[1]!,
  twoNodesToOneBatch8: two.decode[8]! / one.decode[8]!,
};
for (const [name, value] of Object.entries(ratios)) console.log(row(name, undefined, value));
console.log(JSON.stringify({ threads, engine, one, two, ratios }));
