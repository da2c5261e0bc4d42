/** A ring of three stages of which some die: what the others kept is not computed again, and what comes out is what an undisturbed ring gives. */
import { beforeEach, describe, expect, it } from "vitest";
import { type CacheOp, type Fault, type Keep, type Sampled, type StepSpan, greedySampling } from "../../../src/core/worker-protocol.js";
import { BoundaryStore } from "../../../src/worker/boundary-store.js";
import { StageRunner } from "../../../src/worker/stage-runner.js";
import { ToyStage, toyHiddenSize, toyVocabSize } from "./toy-stage.js";

/** Counts the rows that it computes. */
class CountingStage extends ToyStage {
  rows = 0;
  override forward(...[spans, hidden, onProgress]: Parameters<ToyStage["forward"]>): Float32Array {
    this.rows += spans.reduce((sum, span) => sum + span.rows, 0);
    return super.forward(spans, hidden, onProgress);
  }
}

class Ring {
  readonly stages: CountingStage[] = [];
  readonly runners: StageRunner[] = [];
  readonly size: number;
  run = 0;
  #begun = false;
  #key = 0;

  constructor(size: number) {
    this.size = size;
    for (let rank = 0; rank < size; rank += 1) this.revive(rank);
  }

  /** A process of its own, that knows nothing. */
  revive(rank: number): void {
    const stage = new CountingStage();
    this.stages[rank] = stage;
    this.runners[rank] = new StageRunner({ stage, limits: { slots: 4, contextMax: 64, hiddenSize: toyHiddenSize, vocabSize: toyVocabSize, ownsText: rank === 0 }, layers: { first: rank, end: rank + 1 }, onProgress: () => undefined });
    this.runners[rank].adopt(rank);
  }

  begin(keep?: Keep): readonly (readonly number[])[] {
    this.run += 1;
    this.#begun = false;
    const drops = Array.from({ length: 4 }, (_, slot): CacheOp => ({ op: "drop", drop: { slot } })).filter((op) => op.op !== "drop" || !keep?.slots.some(({ slot }) => slot === op.drop.slot));
    return this.step(drops, [], keep).held;
  }

  step(ops: readonly CacheOp[], spans: readonly StepSpan[], keep?: Keep): { sampled: readonly Sampled[]; held: readonly (readonly number[])[] } {
    const origin = { run: this.run, ...(!this.#begun && { begin: { keep } }) };
    this.#begun = true;
    this.#key += 1;
    const held: (readonly number[])[] = [];
    const enter = (rank: number): void => { held.push(this.runners[rank]!.enter(origin, rank === this.size - 1) ?? []); };
    enter(0);
    if (this.size === 1) return { sampled: this.runners[0]!.whole(ops, spans), held };
    let hidden = this.runners[0]!.beginRing(this.#key, ops, spans);
    const faults: Fault[] = [];
    for (let rank = 1; rank < this.size; rank += 1) {
      enter(rank);
      const passed = this.runners[rank]!.pass(ops, spans, hidden, rank === this.size - 1);
      ({ hidden } = passed);
      faults.push(...passed.faults);
    }
    return { sampled: this.runners[0]!.finishRing(this.#key, hidden, faults), held };
  }
}

const prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
const open = (history: readonly number[]): CacheOp => ({ op: "open", open: { slot: 1, sampling: greedySampling, history, promptLength: prompt.length } });
const span = (position: number, tokens: readonly number[], more: Partial<StepSpan> = {}): StepSpan => ({ slot: 1, position, rows: tokens.length, tokens, sample: false, ...more });

/** Goes on from `known`, a token a step. */
function decode(ring: Ring, known: readonly number[], count: number): number[] {
  const tokens = [...known];
  for (let i = 0; i < count; i += 1) tokens.push(ring.step([], [span(tokens.length - 1, tokens.slice(-1), { sample: true })]).sampled[0]!.token);
  return tokens;
}

function started(size: number): { ring: Ring; tokens: number[] } {
  const ring = new Ring(size);
  ring.begin();
  const [first] = ring.step([open(prompt)], [span(0, prompt, { sample: true })]).sampled;
  return { ring, tokens: decode(ring, [...prompt, first!.token], 5) };
}

describe.each([1, 2, 3])("a ring of %i", (size) => {
  const cases = Array.from({ length: 2 ** size - 1 }, (_, mask) => Array.from({ length: size }, (_rank, rank) => rank).filter((rank) => (mask & (1 << rank)) !== 0));
  it.each(cases)("computes only on those that died, and goes on as if nothing had happened (%j died)", (...died) => {
    const lost = died.filter((rank) => rank !== undefined);
    const { ring, tokens } = started(size);
    const known = tokens.slice(0, -1);
    for (const rank of lost) ring.revive(rank);
    const before = ring.stages.map(({ rows }) => rows);
    const held = ring.begin({ runs: [ring.run], slots: [{ slot: 1, length: known.length }] });
    expect(held).toEqual(ring.stages.map((_, rank) => (lost.includes(rank) ? [] : [1])));
    if (lost.length > 0) {
      ring.step([open(tokens)], [span(0, known.slice(0, 7), { lacking: lost })]);
      ring.step([], [span(7, known.slice(7), { lacking: lost })]);
    } else ring.step([open(tokens)], []);
    expect(ring.stages.map(({ rows }, rank) => rows - before[rank]!)).toEqual(ring.stages.map((_, rank) => (lost.includes(rank) ? known.length : 0)));
    const undisturbed = started(size);
    expect(decode(ring, tokens, 6)).toEqual(decode(undisturbed.ring, undisturbed.tokens, 6));
  });
});

describe.each([1, 2, 3])("a ring of %i in which one sequence's numbers go bad", (size) => {
  const ranks = Array.from({ length: size }, (_, rank) => rank);
  const cases = ranks.flatMap((bad) => ranks.flatMap((dead) => [true, false].map((answered) => ({ bad, dead, answered }))));
  const other = [2, 7, 1, 8, 2, 8, 1, 8];
  const openOther: CacheOp = { op: "open", open: { slot: 2, sampling: greedySampling, history: other, promptLength: other.length } };
  const first = (more: Partial<StepSpan> = {}): StepSpan => span(0, other.slice(0, 4), { slot: 2, ...more });
  const rest = span(4, other.slice(4), { slot: 2, sample: true });
  const expected = (() => { const ring = new Ring(size); ring.begin(); ring.step([openOther], [first()]); return ring.step([], [rest]).sampled; })();

  it.each(cases)("and then is lost (bad on rank $bad, rank $dead died, the step was answered: $answered)", ({ bad, dead, answered }) => {
    const { ring, tokens } = started(size);
    ring.step([openOther], [first()]);
    ring.stages[bad]!.poison = true;
    // The toy poisons the first row of a step.
    const { sampled } = ring.step([], [rest, span(tokens.length - 1, tokens.slice(-1), { sample: true })]);
    ring.stages[bad]!.poison = false;
    const undisturbed = started(size);
    const after = decode(undisturbed.ring, undisturbed.tokens, 8);
    expect(sampled.find(({ slot }) => slot === 2)).toMatchObject({ errorCode: "output_not_finite", error: expect.stringMatching(new RegExp(`rank ${bad}`, "u")) as string });
    expect(sampled.find(({ slot }) => slot === 1)?.token).toBe(after[tokens.length]);

    // Without an answer nobody knows of the fault: the rows before that step count, and what was handed on of it must not.
    const good = answered ? [...tokens, after[tokens.length]!] : tokens;
    const known = good.slice(0, -1);
    ring.revive(dead);
    ring.begin({ runs: [ring.run], slots: [{ slot: 1, length: known.length }, ...(answered ? [] : [{ slot: 2, length: 4 }])] });
    ring.step([open(good), openOther], [span(0, known, { lacking: [dead] }), first(answered ? {} : { lacking: [dead] })]);
    expect(ring.step([], [rest]).sampled).toEqual(expected);
    expect(decode(ring, good, 8).slice(0, after.length)).toEqual(after.slice(0, good.length + 8));
  });
});

describe("what is kept", () => {
  let ring: Ring;
  let tokens: number[];
  beforeEach(() => { ({ ring, tokens } = started(2)); });
  const length = prompt.length;
  const asked = (runs: readonly number[]): Keep => ({ runs, slots: [{ slot: 1, length }] });

  it("is nothing when another run has touched the cache, or a new plan came", () => {
    expect(ring.begin(asked([7]))).toEqual([[], []]);
    const again = started(2).ring;
    again.runners[1]!.adopt(1);
    expect(again.begin(asked([again.run]))).toEqual([[1], []]);
  });

  it("outlives runs that came to nothing, and not one that computed something else", () => {
    const [made] = [ring.run];
    ring.begin(asked([made]));
    ring.begin(asked([made]));
    expect(ring.begin(asked([made]))).toEqual([[1], [1]]);
    ring.step([open(tokens)], []);
    expect(ring.begin(asked([made]))).toEqual([[], []]);
  });

  it("is no slot that holds less than is asked for, or was not handed on", () => {
    expect(ring.begin({ runs: [ring.run], slots: [{ slot: 1, length: tokens.length + 1 }] })).toEqual([[], []]);
  });

  it("refuses rows that it does not hold, as stage_lost, and kept rows that are to be sampled", () => {
    ring.begin(asked([ring.run]));
    expect(() => ring.step([open(tokens)], [span(0, tokens.slice(0, 4), { slot: 2, lacking: [1] })])).toThrow(expect.objectContaining({ code: "stage_lost" }) as Error);
    expect(() => ring.step([open(tokens)], [span(0, [...tokens, ...tokens], { lacking: [1] })])).toThrow(expect.objectContaining({ code: "stage_lost" }) as Error);
    expect(() => ring.step([open(tokens)], [span(0, tokens.slice(0, 4), { lacking: [1], sample: true })])).toThrow(expect.objectContaining({ code: "invalid_value" }) as Error);
  });
});

describe("the rows handed on", () => {
  it("are forgotten beyond the bound, behind a rewind and after a gap", () => {
    const store = new BoundaryStore(2, () => 128 * 2 * 4);
    store.write(0, 0, new Float32Array([1, 2, 3, 4]));
    store.write(0, 1, new Float32Array([5, 6]));
    expect([...store.read(0, 0, 2)]).toEqual([1, 2, 5, 6]);
    store.write(0, 3, new Float32Array([7, 8]));
    expect(store.length(0)).toBe(0);
    store.write(0, 0, new Float32Array([1, 2]));
    store.write(1, 0, new Float32Array([1, 2]));
    expect([store.length(0), store.length(1)]).toEqual([1, 0]);
    store.drop(0);
    expect(store.bytes).toBe(0);
  });
});
