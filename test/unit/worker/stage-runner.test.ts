import { describe, expect, it } from "vitest";
import { type CacheOp, type Sampling, type StepSpan, greedySampling } from "../../../src/core/worker-protocol.js";
import { StageRunner } from "../../../src/worker/stage-runner.js";
import { ToyStage, toyHiddenSize, toyVocabSize } from "./toy-stage.js";

const open = (slot: number, history: readonly number[], wishes: Partial<Sampling> = {}): CacheOp => ({ op: "open", open: { slot, sampling: { ...greedySampling, ...wishes }, history, promptLength: history.length } });
const span = (slot: number, position: number, tokens: readonly number[], sample = true): StepSpan => ({ slot, position, rows: tokens.length, tokens, sample });
const drop = (slot: number): CacheOp => ({ op: "drop", drop: { slot } });
const copy = (from: number, to: number, length: number): CacheOp => ({ op: "copy", copy: { from, to, length } });

function runner(ownsText = true) {
  const stage = new ToyStage();
  let progress = 0;
  const run = new StageRunner({ stage, limits: { slots: 4, contextMax: 32, hiddenSize: toyHiddenSize, vocabSize: toyVocabSize, ownsText }, layers: { first: 3, end: 5 }, onProgress: () => { progress += 1; } });
  return { stage, run, progress: () => progress };
}

describe("stage runner", () => {
  it("samples after the last row of each span that asks for it, and of no other", () => {
    const { run } = runner();
    const sampled = run.whole([open(0, [1, 2]), open(1, [3]), open(2, [4])], [span(0, 0, [1, 2]), span(1, 0, [3], false), span(2, 0, [4])]);
    expect(sampled.map(({ slot, token }) => [slot, token])).toEqual([[0, 1 + 2 * 2], [2, 4]]);
  });

  it("gives one rank's tokens when the step goes round a ring", () => {
    const alone = runner();
    const first = runner();
    const last = runner(false);
    const ops = [open(0, [1, 2, 3]), open(1, [5])];
    const spans = [span(0, 0, [1, 2, 3]), span(1, 0, [5], false)];
    const hidden = first.run.beginRing(7, ops, spans);
    // The toy's layers are not the identity: what the ring computes is the toy applied twice, and so must be the reference.
    const { hidden: rows } = last.run.pass(ops, spans, hidden, true);
    expect(rows).toHaveLength(toyHiddenSize);
    const sampled = first.run.finishRing(7, rows);
    expect(sampled).toHaveLength(1);
    const once = alone.stage.forward([{ slot: 0, position: 0, rows: 3 }], alone.stage.embed(Int32Array.from([1, 2, 3])), () => undefined);
    const twice = new ToyStage().forward([{ slot: 0, position: 0, rows: 3 }], once, () => undefined);
    expect(sampled[0]?.token).toBe((twice[2 * toyHiddenSize] ?? 0) % toyVocabSize);
  });

  it("applies cache operations in order, before the spans", () => {
    const { run, stage } = runner();
    run.whole([open(0, [1, 2, 3])], [span(0, 0, [1, 2, 3], false)]);
    run.whole([copy(0, 1, 2), drop(0), copy(1, 2, 1), open(2, [9])], [span(2, 1, [4], false)]);
    expect(stage.log).toEqual(["copy 0 1 2", "drop 0", "copy 1 2 1"]);
    expect([0, 1, 2].map((slot) => stage.length(slot))).toEqual([0, 2, 2]);
  });

  it("changes nothing when any part of a step is refused", () => {
    const { run, stage } = runner();
    run.whole([open(0, [1, 2, 3])], [span(0, 0, [1, 2, 3], false)]);
    for (const [ops, spans] of [
      [[drop(0)], [span(9, 0, [1])]], [[drop(0), copy(0, 1, 3)], []], [[drop(0), open(1, [1], { temperature: Number.NaN })], []], [[drop(0), open(1, [toyVocabSize])], []], [[drop(0)], [span(0, 0, [1])]],
    ] as const) expect(() => run.whole(ops, spans)).toThrow();
    expect(stage.log).toEqual([]);
    expect(run.whole([], [span(0, 3, [1])])).toHaveLength(1);
  });

  it("refuses a span that builds on tokens the slot does not hold as stage_lost, and takes a lower position as a rewind", () => {
    const { run, stage } = runner();
    run.whole([open(0, [1, 2, 3])], [span(0, 0, [1, 2, 3], false)]);
    expect(() => run.whole([], [span(0, 4, [1])])).toThrow(expect.objectContaining({ code: "stage_lost" }));
    run.whole([], [span(0, 1, [2])]);
    expect(stage.length(0)).toBe(2);
  });

  it("samples a step in the ring as it began, though its slot has a new sequence by then", () => {
    const { run } = runner();
    const hidden = run.beginRing(1, [open(0, [1], { logitBias: { 11: 100 } })], [span(0, 0, [1])]);
    const other = run.beginRing(2, [drop(0), open(0, [2], { logitBias: { 12: 100 } })], [span(0, 0, [2])]);
    expect(run.finishRing(1, hidden)[0]?.token).toBe(11);
    expect(run.finishRing(2, other)[0]?.token).toBe(12);
  });

  it("fails the sequence whose numbers are not finite, alone, and names the layers and the rank", () => {
    const sound = runner();
    const { run, stage } = runner();
    const ops = [open(0, [1, 2]), open(1, [3])];
    const spans = [span(0, 0, [1, 2]), span(1, 0, [3])];
    stage.poison = true;
    const sampled = new Map(run.whole(ops, spans).map((each) => [each.slot, each]));
    expect(sampled.get(0)).toMatchObject({ errorCode: "output_not_finite", error: "layers 3 to 4 (rank 0) computed numbers that are not finite" });
    expect(sampled.get(1)).toEqual(sound.run.whole(ops, spans).find(({ slot }) => slot === 1));
    // A step that was sent before anybody knew goes through.
    stage.poison = false;
    expect(run.whole([], [{ slot: 0, position: 2, rows: 1, tokens: [], sample: true }, span(1, 1, [4])])).toHaveLength(2);
  });

  it("tells of a sequence that goes bad in the middle of its prompt, where nothing was to be sampled", () => {
    const { run, stage } = runner();
    stage.poison = true;
    expect(run.whole([open(0, [1, 2, 3])], [span(0, 0, [1, 2], false)])).toMatchObject([{ slot: 0, errorCode: "output_not_finite" }]);
  });

  it("carries a fault round the ring with rows of zeros, from whichever rank it began", () => {
    const first = runner();
    const last = runner(false);
    last.run.adopt(2);
    const ops = [open(0, [1]), open(1, [3])];
    const spans = [span(0, 0, [1]), span(1, 0, [3])];
    last.stage.poison = true;
    const { hidden, faults } = last.run.pass(ops, spans, first.run.beginRing(1, ops, spans), true);
    expect(faults).toEqual([{ slot: 0, error: "layers 3 to 4 (rank 2) computed numbers that are not finite" }]);
    expect(Array.from(hidden.subarray(0, toyHiddenSize))).toEqual([0, 0]);
    const sampled = first.run.finishRing(1, hidden, faults);
    expect(sampled.map(({ slot, errorCode }) => [slot, errorCode])).toEqual([[0, "output_not_finite"], [1, undefined]]);
    const infinite = Float32Array.of(Number.POSITIVE_INFINITY, 0, 3, 0);
    last.stage.poison = false;
    expect(last.run.pass(ops, spans, infinite, true).faults).toEqual([{ slot: 0, error: "the activations that reached rank 2 are not finite numbers" }]);
  });

  it("empties every slot and forgets every sequence when a new plan adopts the stage", () => {
    const { run, stage } = runner();
    run.whole([open(0, [1]), open(1, [2])], [span(0, 0, [1]), span(1, 0, [2])]);
    run.adopt(0);
    expect([0, 1].map((slot) => stage.length(slot))).toEqual([0, 0]);
    expect(() => run.whole([], [span(0, 0, [1])])).toThrow(/not open/);
  });

  it("penalizes what it has sampled itself", () => {
    const { run } = runner();
    const first = run.whole([open(0, [1, 2], { presencePenalty: 100 })], [span(0, 0, [1, 2])])[0]?.token ?? 0;
    expect(first).toBe(5);
    // Feeding 5 makes the toy favour 1*1 + 2*2 + 5*3 = 20 % 16 = 4; then that answer is used up too.
    const second = run.whole([], [span(0, 2, [5])])[0]?.token ?? 0;
    expect(second).toBe(4);
    const rewound = run.whole([], [span(0, 2, [5])])[0]?.token;
    expect(rewound).toBe(4);
  });

  it("feeds a span without tokens from the slot's history, the prompt as well as what it has sampled", () => {
    const told = runner();
    const first = told.run.whole([open(0, [1, 2])], [span(0, 0, [1, 2])])[0]?.token ?? 0;
    const second = told.run.whole([], [span(0, 2, [first])])[0]?.token;
    const untold = runner();
    const fromHistory = (position: number, rows: number): StepSpan => ({ ...span(0, position, []), rows });
    expect(untold.run.whole([open(0, [1, 2])], [fromHistory(0, 2)])[0]?.token).toBe(first);
    expect(untold.run.whole([], [fromHistory(2, 1)])[0]?.token).toBe(second);
    expect(() => untold.run.whole([], [fromHistory(3, 2)])).toThrow(expect.objectContaining({ code: "stage_lost" }));
  });

  it("reports progress between the parts of a step", () => {
    const { run, progress } = runner();
    run.whole([open(0, [1]), open(1, [2])], [span(0, 0, [1]), span(1, 0, [2])]);
    expect(progress()).toBe(3);
  });
});
