/** Stages for the tests of this folder: the fixtures' checkpoints, and how logits are compared bit for bit. */
import { join } from "node:path";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import type { Checkpoint } from "../../../../../src/model/weights.js";
import { createOnnxEngine } from "../../../../../src/worker/engines/onnx/engine.js";
import type { Numerics, Stage } from "../../../../../src/worker/engines/engine.js";

export const fixtures = join(import.meta.dirname, "../../../../fixtures");
export const tinyDense = ["llama-4bit-g32", "llama-8bit-rope3", "qwen2-8bit-bias", "qwen3-4bit-tied", "qwen3-8bit", "qwen3-bf16-tied"];
export const smolDirectory = join(import.meta.dirname, "../../../../../models/SmolLM2-135M-Instruct-8bit");

export const openTiny = (name: string): Promise<Checkpoint> => openCheckpoint(join(fixtures, "tiny", name));

export interface StageChoice {
  readonly first?: number;
  readonly end?: number;
  readonly threads?: number;
  readonly slots?: number;
  readonly contextMax?: number;
  readonly batchMax?: number;
}

export function loadStage(checkpoint: Checkpoint, numerics: Numerics, choice: StageChoice = {}): Promise<Stage> {
  const { first = 0, end = checkpoint.spec.layerCount, threads = 1, slots = 10, contextMax = 200, batchMax = 8 } = choice;
  return createOnnxEngine().load({ checkpoint, layers: { first, end }, ownsText: first === 0, numerics, threads, slots, contextMax, batchMax });
}

/** A pipeline of stages cut at the given layers; the first one has the text. */
export async function loadPipeline(checkpoint: Checkpoint, numerics: Numerics, cuts: readonly number[], choice: StageChoice = {}): Promise<Stage[]> {
  const bounds = [0, ...cuts, checkpoint.spec.layerCount];
  const stages: Stage[] = [];
  for (let at = 0; at + 1 < bounds.length; at += 1) stages.push(await loadStage(checkpoint, numerics, { ...choice, first: bounds[at]!, end: bounds[at + 1]! }));
  return stages;
}

/** Appends tokens to a slot in the given chunks. @returns the last hidden state of each token. */
export function feed(stages: readonly Stage[], slot: number, tokens: readonly number[], chunks: readonly number[] = [tokens.length], from = 0): Float32Array {
  const [head] = stages;
  const parts: Float32Array[] = [];
  let position = from;
  for (let turn = 0; position < from + tokens.length; turn += 1) {
    const rows = Math.min(chunks[turn % chunks.length]!, from + tokens.length - position);
    let hidden = head!.embed(Int32Array.from(tokens.slice(position - from, position - from + rows)));
    for (const stage of stages) hidden = stage.forward([{ slot, position, rows }], hidden, () => {});
    parts.push(hidden);
    position += rows;
  }
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** The bits of some floats, as text: equal exactly when every bit is. */
export function bits(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

export function argmax(values: Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at += 1) if (values[at]! > values[best]!) best = at;
  return best;
}

/** Numbers in [0, below) that are the same at every run. */
export function sequenceOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}
