/**
 * The bits of one sequence's logits do not depend on how it was computed: its chunks, its batch, its slot, the threads, the cuts.
 * SmolLM2, because only real sizes take the library's real kernels.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import type { Checkpoint } from "../../../../../src/model/weights.js";
import type { Stage } from "../../../../../src/worker/engines/engine.js";
import { bits, feed, loadPipeline, loadStage, openTiny, sequenceOf, smolDirectory } from "./stages.js";

const length = 30;
const longLength = 131;
const random = sequenceOf(7);
/** Of the mode that is served; a slice of them of the other, or all with MINID_LONG=1. */
const whole = { cuts: 50, chunks: [2, 3, 7, 16], longChunks: [127, 128, 129], sizes: [2, 3, 4, 5, 6, 7, 8] };
const slice = process.env["MINID_LONG"] === "1" ? whole : { cuts: 15, chunks: [2, 16], longChunks: [129], sizes: [3, 8] };

describe.each([{ numerics: "fast", ...whole }, { numerics: "precise", ...slice }] as const)("$numerics", ({ numerics, cuts, chunks, longChunks, sizes }) => {
  let checkpoint: Checkpoint;
  let stage: Stage;
  let tokens: number[];
  let hiddenSize: number;
  /** Of `tokens` decoded one by one: the bits of each position's logits. */
  let decoded: string[];

  const logitBits = (of: Stage, hidden: Float32Array): string[] => {
    const vocabSize = checkpoint.spec.vocabSize;
    const logits = of.head(hidden);
    return Array.from({ length: hidden.length / hiddenSize }, (_, row) => bits(logits.subarray(row * vocabSize, (row + 1) * vocabSize)));
  };
  const row = (hidden: Float32Array, at: number): Float32Array => hidden.subarray(at * hiddenSize, (at + 1) * hiddenSize);

  beforeAll(async () => {
    checkpoint = await openCheckpoint(smolDirectory);
    hiddenSize = checkpoint.spec.hiddenSize;
    tokens = Array.from({ length: longLength }, () => random(checkpoint.spec.vocabSize));
    stage = await loadStage(checkpoint, numerics);
    decoded = logitBits(stage, feed([stage], 0, tokens.slice(0, length), [1]));
  });
  afterAll(async () => {
    stage.dispose();
    await checkpoint.close();
  });

  it(`decoding token by token equals prefilling the same tokens anew, at ${cuts} random cuts`, () => {
    for (let time = 0; time < cuts; time += 1) {
      const cut = 1 + random(length - 1);
      const slot = 1 + random(8);
      stage.drop(slot);
      const hidden = feed([stage], slot, tokens.slice(0, cut));
      expect(logitBits(stage, row(hidden, cut - 1))[0] === decoded[cut - 1], `cut ${cut}`).toBe(true);
      const next = feed([stage], slot, [tokens[cut]!], [1], cut);
      expect(logitBits(stage, next)[0] === decoded[cut], `the token after cut ${cut}`).toBe(true);
    }
  });

  it("a prompt in chunks of 2 to 128 equals one decoded token by token", () => {
    for (const chunk of chunks) {
      stage.drop(1);
      expect(logitBits(stage, feed([stage], 1, tokens.slice(0, length), [chunk]))).toEqual(decoded);
    }
    const long = feed([stage], 2, tokens, [64]);
    for (const chunk of longChunks) {
      stage.drop(3);
      expect(bits(feed([stage], 3, tokens, [chunk])) === bits(long), `chunks of ${chunk}`).toBe(true);
    }
    expect(logitBits(stage, long.subarray(0, length * hiddenSize))).toEqual(decoded);
  });

  it("a sequence among one to seven strangers equals the sequence alone", () => {
    for (const size of sizes) {
      const position = length - 3;
      const place = random(size);
      for (let slot = 0; slot < size; slot += 1) {
        stage.drop(slot);
        const prefix = slot === place ? tokens.slice(0, position) : Array.from({ length: 1 + random(20) }, () => random(checkpoint.spec.vocabSize));
        feed([stage], slot, prefix);
      }
      for (let step = 0; step < 2; step += 1) {
        const spans = Array.from({ length: size }, (_, slot) => ({ slot, position: stage.length(slot), rows: 1 }));
        const inputs = spans.map(({ slot }) => slot === place ? tokens[position + step]! : random(checkpoint.spec.vocabSize));
        const logits = logitBits(stage, stage.forward(spans, stage.embed(Int32Array.from(inputs)), () => {}));
        expect(logits[place] === decoded[position + step], `batch of ${size}, step ${step}`).toBe(true);
      }
    }
  });

  it("a step that mixes prompts and single tokens gives each its own bits", () => {
    for (const slot of [0, 1, 2]) stage.drop(slot);
    feed([stage], 0, tokens.slice(0, 10));
    feed([stage], 1, tokens.slice(0, 20));
    const spans = [{ slot: 0, position: 10, rows: 1 }, { slot: 2, position: 0, rows: 9 }, { slot: 1, position: 20, rows: 1 }];
    const hidden = stage.forward(spans, stage.embed(Int32Array.from([tokens[10]!, ...tokens.slice(0, 9), tokens[20]!])), () => {});
    expect(logitBits(stage, hidden)).toEqual([decoded[10], ...decoded.slice(0, 9), decoded[20]]);
  });

  it("two threads equal one", async () => {
    const pair = await loadStage(checkpoint, numerics, { threads: 2 });
    expect(logitBits(pair, feed([pair], 4, tokens.slice(0, length), [20, 1, 1, 5, 1]))).toEqual(decoded);
    pair.dispose();
  });

  it.each([{ split: [13] }, { split: [4, 21] }])("stages cut at $split equal the whole", async ({ split }) => {
    const stages = await loadPipeline(checkpoint, numerics, split);
    expect(logitBits(stages[0]!, feed(stages, 5, tokens.slice(0, length), [15, 1, 1, 11]))).toEqual(decoded);
    for (const part of stages) part.dispose();
  });
});

it.each(["llama-4bit-g32", "qwen3-4bit-tied", "qwen2-8bit-bias"])("%s decodes to the bits of its prefill in every mode, alone and in a batch", async (name) => {
  const checkpoint = await openTiny(name);
  const count = 301;
  const tokens = Array.from({ length: count }, () => random(checkpoint.spec.vocabSize));
  for (const numerics of ["fast", "precise", "exact"] as const) {
    const stage = await loadStage(checkpoint, numerics, { contextMax: count });
    const whole = feed([stage], 0, tokens);
    expect(bits(feed([stage], 1, tokens, [1])) === bits(whole), numerics).toBe(true);
    for (const slot of [2, 3, 4]) feed([stage], slot, tokens.slice(0, count - 1));
    const batch = stage.forward([2, 3, 4].map((slot) => ({ slot, position: count - 1, rows: 1 })), stage.embed(Int32Array.from([tokens.at(-1)!, tokens.at(-1)!, 1])), () => {});
    const { hiddenSize } = checkpoint.spec;
    expect(bits(batch.subarray(hiddenSize, 2 * hiddenSize)) === bits(whole.subarray((count - 1) * hiddenSize)), `${numerics} in a batch`).toBe(true);
    stage.dispose();
  }
  await checkpoint.close();
});
