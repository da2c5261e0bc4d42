/**
 * Executes steps on one loaded stage, in the engine thread: checks, cache operations, embedding, layers, head, sampling.
 * One call a step and rank; `beginRing` and `finishRing` are the two halves of rank 0's part when other ranks lie between.
 *
 * Invariants: a step that is refused has changed nothing (but the first of a run, which empties what is not kept). A sequence samples
 * with the parameters and history its step began with, even when its slot has been given to another one meanwhile. No number that is
 * not finite leaves this file: the rows of a sequence whose numbers went bad are set to zero and its fault is told, and the sequences
 * beside it are computed as if it were not there.
 */
import { type ErrorCode, MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import type { CacheOp, Fault, Keep, Sampled, StepSpan } from "../core/worker-protocol.js";
import type { LayerRange } from "../model/spec.js";
import { BoundaryStore } from "./boundary-store.js";
import type { Stage } from "./engines/engine.js";
import type { Grammars } from "./grammars.js";
import type { FinalNorm } from "./pool.js";
import { type StageHoldings, type StepLimits, checkHidden, checkStep, computedBy } from "./step-check.js";
import { type TextSlot, TextSlots } from "./text-slots.js";
import { allFinite } from "./vocabulary-math.js";

/** Memory for what was handed on: a share of the cache beside it, and this much at least. */
const boundaryShare = 1 / 8;
const boundaryBytesMin = 32 << 20;

/** Where a step comes from. @property keep present in the first step of a run. */
export interface StepOrigin { readonly run: number; readonly begin?: { readonly keep: Keep | undefined } }

export interface StageRunnerOptions {
  readonly stage: Stage;
  readonly limits: StepLimits;
  readonly layers: LayerRange;
  /** Called between the parts of a step. */
  readonly onProgress: () => void;
  /** Rank 0: the grammars that sequences bring along. */
  readonly grammars?: Pick<Grammars, "matcher">;
  /** Rank 0: without it no sequence can be embedded. */
  readonly finalNorm?: FinalNorm;
}

/** A span of a step under way whose rows come back after the last layer: the last one, to be sampled, or those that an embedding is made of. */
interface Awaited { readonly slot: number; readonly text: TextSlot; /** After the span. */ readonly position: number; readonly rows: number; readonly sample: boolean }

export class StageRunner {
  readonly #stage: Stage;
  readonly #limits: StepLimits;
  readonly #layers: LayerRange;
  readonly #onProgress: () => void;
  readonly #text: TextSlots | undefined;
  readonly #awaited = new Map<number, { readonly awaited: readonly Awaited[]; readonly faults: readonly Fault[] }>();
  readonly #boundary: BoundaryStore;
  #rank = 0;
  #adopted = false;
  /** The run that touched the cache last. */
  #content = 0;

  constructor({ stage, limits, layers, onProgress, grammars, finalNorm }: StageRunnerOptions) {
    this.#stage = stage;
    this.#limits = limits;
    this.#layers = layers;
    this.#onProgress = onProgress;
    this.#boundary = new BoundaryStore(limits.hiddenSize, () => boundaryBytesMin + stage.memory().kvBytes * boundaryShare);
    this.#text = limits.ownsText ? new TextSlots(limits.vocabSize, (grammar) => grammars?.matcher(grammar), finalNorm) : undefined;
  }

  /** A new plan begins on this stage: nothing of the old one's sequences stays. @param rank for messages. */
  adopt(rank: number): void {
    this.#rank = rank;
    this.#adopted = true;
    this.#content = 0;
    this.#level(() => false);
    this.#text?.clear();
    this.#awaited.clear();
  }

  /**
   * Before every step. The first one of a run leaves in the cache what it names and the right run made, and nothing else.
   * @param last nobody comes after this rank, to whom rows would have to be handed again. @returns the kept slots, at the beginning of a run.
   */
  enter({ run, begin }: StepOrigin, last: boolean): readonly number[] | undefined {
    if (!begin) { this.#content = run; return undefined; }
    const known = this.#content !== 0 && begin.keep?.runs.includes(this.#content) === true;
    const lengths = new Map(known ? begin.keep?.slots.map(({ slot, length }) => [slot, length]) : []);
    const held = this.#level((slot) => {
      const length = lengths.get(slot);
      return length !== undefined && this.#stage.length(slot) >= length && (last || this.#boundary.length(slot) >= length);
    });
    // What is kept stays the work of the run that made it until another step touches it: a run that comes no further changes nothing.
    if (!known) this.#content = run;
    return held;
  }

  /** The whole step, in a ring of one. */
  whole(ops: readonly CacheOp[], spans: readonly StepSpan[]): readonly Sampled[] {
    const { awaited, tokens } = this.#begin(ops, spans);
    const computed = spans.filter(this.#computes);
    const { hidden, faults } = this.#forward(computed, this.#embed(tokens));
    return this.#conclude(awaited, returnedRows(computed, hidden, this.#limits.hiddenSize), faults);
  }

  /** Rank 0's layers. @param key under which `finishRing` finds the step again. @returns [rows, hiddenSize]: those that rank 1 computes. */
  beginRing(key: number, ops: readonly CacheOp[], spans: readonly StepSpan[]): Float32Array {
    const { awaited, tokens } = this.#begin(ops, spans);
    const { hidden, faults } = this.#forward(spans.filter(this.#computes), this.#embed(tokens));
    this.#awaited.set(key, { awaited, faults });
    return this.#handOn(spans, hidden);
  }

  /** @param hidden [rows, hiddenSize]: what the last rank returned. @param faults of the ranks between. */
  finishRing(key: number, hidden: Float32Array, faults: readonly Fault[] = []): readonly Sampled[] {
    const begun = this.#awaited.get(key);
    invariant(begun, "a step is finished that was not begun");
    this.#awaited.delete(key);
    const { awaited } = begun;
    checkHidden(hidden, awaited.reduce((sum, { rows }) => sum + rows, 0), this.#limits.hiddenSize);
    const arrived = this.#screen(awaited, hidden, "the activations that came back to rank 0 are not finite numbers");
    return this.#conclude(awaited, hidden, [...begun.faults, ...faults, ...arrived]);
  }

  /** A step that will not come back. */
  forget(key: number): void { this.#awaited.delete(key); }

  /** @param hidden [rows, hiddenSize]: those that this rank computes. @param last returns only the rows that rank 0 waits for. */
  pass(ops: readonly CacheOp[], spans: readonly StepSpan[], hidden: Float32Array, last: boolean): { readonly hidden: Float32Array; readonly faults: readonly Fault[] } {
    const rows = this.#check(ops, spans);
    const computed = spans.filter(this.#computes);
    checkHidden(hidden, rows, this.#limits.hiddenSize);
    const arrived = this.#screen(computed, hidden, `the activations that reached rank ${this.#rank} are not finite numbers`);
    for (const op of ops) this.#applyToCache(op);
    const { hidden: output, faults } = this.#forward(computed, hidden);
    return { hidden: last ? returnedRows(computed, output, this.#limits.hiddenSize) : this.#handOn(spans, output), faults: [...arrived, ...faults] };
  }

  /** A part of what the next steps will want, once a plan is waiting for them. @returns whether there is more. */
  warm(): boolean { return this.#adopted && (this.#stage.warm?.() ?? false); }

  dispose(): void { this.#stage.dispose(); }
  memory(): { readonly weightBytes: number; readonly kvBytes: number } {
    const { weightBytes, kvBytes } = this.#stage.memory();
    return { weightBytes, kvBytes: kvBytes + this.#boundary.bytes };
  }

  readonly #computes = ({ lacking }: StepSpan): boolean => computedBy(lacking, this.#rank);

  /** Empties every slot that is not kept. @returns the others. */
  #level(keeps: (slot: number) => boolean): number[] {
    const kept: number[] = [];
    for (let slot = 0; slot < this.#limits.slots; slot += 1) {
      if (this.#stage.length(slot) > 0 && keeps(slot)) { kept.push(slot); continue; }
      if (this.#stage.length(slot) > 0) this.#stage.drop(slot);
      this.#boundary.drop(slot);
    }
    return kept;
  }

  /** Remembers the rows computed here, and gives those that the next rank computes on, old ones among them. */
  #handOn(spans: readonly StepSpan[], output: Float32Array): Float32Array {
    const { hiddenSize } = this.#limits;
    const rows: Float32Array[] = [];
    let row = 0;
    for (const span of spans) {
      if (this.#computes(span)) {
        this.#boundary.write(span.slot, span.position, output.subarray(row * hiddenSize, (row + span.rows) * hiddenSize));
        row += span.rows;
        if (computedBy(span.lacking, this.#rank + 1)) rows.push(output.subarray((row - span.rows) * hiddenSize, row * hiddenSize));
      } else if (computedBy(span.lacking, this.#rank + 1)) rows.push(this.#boundary.read(span.slot, span.position, span.rows));
    }
    return spans.every(({ lacking }) => !lacking || lacking.length === 0) ? output : joined(rows, hiddenSize);
  }

  #check(ops: readonly CacheOp[], spans: readonly StepSpan[]): number {
    const holdings: StageHoldings = {
      rank: this.#rank, length: (slot) => this.#stage.length(slot), history: (slot) => this.#text?.historyLength(slot), handedOn: (slot) => this.#boundary.length(slot),
    };
    return checkStep(this.#limits, holdings, ops, spans);
  }

  /** Checks, operations, histories. @returns what comes back, and the tokens of all rows. */
  #begin(ops: readonly CacheOp[], spans: readonly StepSpan[]): { readonly awaited: readonly Awaited[]; readonly tokens: Int32Array } {
    const text = this.#text;
    if (!text) throw new MinidError("invalid_value", `rank ${this.#rank} was sent a step with text, which only rank 0 takes`);
    const all = new Int32Array(this.#check(ops, spans));
    const prepared = ops.map((op) => (op.op === "open" ? text.prepare(op.open) : undefined));
    for (const [i, op] of ops.entries()) {
      const opened = prepared[i];
      if (op.op === "open" && opened) text.open(op.open.slot, opened);
      else if (op.op === "drop") text.drop(op.drop.slot);
      this.#applyToCache(op);
    }
    const awaited: Awaited[] = [];
    let row = 0;
    for (const span of spans) {
      const { slot, position, rows, tokens, sample } = span;
      const slotText = text.get(slot);
      slotText.feed(position, tokens);
      if (!this.#computes(span)) continue;
      all.set(tokens.length > 0 ? tokens : slotText.at(position, rows), row);
      row += rows;
      const returned = rowsReturned(span);
      if (returned > 0) awaited.push({ slot, text: slotText, position: position + rows, rows: returned, sample });
    }
    return { awaited, tokens: all };
  }

  #applyToCache(op: CacheOp): void {
    switch (op.op) {
      case "open": return;
      case "copy":
        this.#stage.copy(op.copy.from, op.copy.to, op.copy.length);
        this.#boundary.copy(op.copy.from, op.copy.to, op.copy.length);
        return;
      case "drop":
        this.#stage.drop(op.drop.slot);
        this.#boundary.drop(op.drop.slot);
        return;
      default: invariant(false, "checkStep lets no unknown operation pass");
    }
  }

  #embed(tokens: Int32Array): Float32Array { return tokens.length === 0 ? new Float32Array(0) : this.#stage.embed(tokens); }

  #forward(spans: readonly StepSpan[], hidden: Float32Array): { readonly hidden: Float32Array; readonly faults: readonly Fault[] } {
    if (spans.length === 0) return { hidden, faults: [] };
    const output = this.#stage.forward(spans, hidden, this.#onProgress);
    return { hidden: output, faults: this.#screen(spans, output, `layers ${this.#layers.first} to ${this.#layers.end - 1} (rank ${this.#rank}) computed numbers that are not finite`) };
  }

  /** Sets the rows of every sequence with a number that is not finite to zero. @param hidden [rows of the spans, hiddenSize]; changed. @returns those sequences. */
  #screen(spans: readonly { readonly slot: number; readonly rows: number }[], hidden: Float32Array, error: string): readonly Fault[] {
    // One look over everything is all that a sound step costs.
    if (allFinite(hidden)) return [];
    const faults: Fault[] = [];
    let row = 0;
    for (const { slot, rows } of spans) {
      const own = hidden.subarray(row * this.#limits.hiddenSize, (row + rows) * this.#limits.hiddenSize);
      row += rows;
      if (allFinite(own)) continue;
      own.fill(0);
      faults.push({ slot, error });
    }
    return faults;
  }

  /** Embeddings take their rows, the others are sampled. @param hidden the awaited spans' rows after the last layer, one after another. */
  #conclude(awaited: readonly Awaited[], hidden: Float32Array, faults: readonly Fault[]): readonly Sampled[] {
    const { hiddenSize } = this.#limits;
    const bad = new Map(faults.toReversed().map(({ slot, error }) => [slot, error]));
    const concluded: Sampled[] = Array.from(bad, ([slot, error]) => failedSample(slot, "output_not_finite", error));
    const sampled: Awaited[] = [];
    const rows: Float32Array[] = [];
    let at = 0;
    for (const span of awaited) {
      const own = hidden.subarray(at * hiddenSize, (at + span.rows) * hiddenSize);
      at += span.rows;
      const { pool } = span.text;
      if (bad.has(span.slot)) {
        // Steps that are under way already build on a token here.
        if (span.sample && !pool) span.text.feed(span.position, [0]);
        continue;
      }
      if (!pool) {
        if (!span.sample) continue;
        sampled.push(span);
        rows.push(own.subarray((span.rows - 1) * hiddenSize));
        continue;
      }
      pool.add(own, span.position);
      if (span.sample) concluded.push({ slot: span.slot, token: 0, logprob: 0, top: [], embedding: pool.result() });
    }
    concluded.push(...this.#sample(sampled, sampled.length === awaited.length && at === rows.length ? hidden : joined(rows, hiddenSize)));
    return concluded;
  }

  /** @param hidden [awaited, hiddenSize] */
  #sample(awaited: readonly Awaited[], hidden: Float32Array): readonly Sampled[] {
    const text = this.#text;
    if (awaited.length === 0 || !text) return [];
    const logits = this.#stage.head(hidden);
    this.#onProgress();
    const { vocabSize } = this.#limits;
    return awaited.map(({ slot, text: slotText, position }, row) => {
      try {
        return text.sample(slot, slotText, position, logits.subarray(row * vocabSize, (row + 1) * vocabSize));
      } catch (error) {
        if (!(error instanceof MinidError)) throw error;
        slotText.feed(position, [0]);
        return failedSample(slot, error.code, error.message);
      }
    });
  }
}

const failedSample = (slot: number, errorCode: ErrorCode, error: string): Sampled => ({ slot, token: 0, logprob: 0, top: [], errorCode, error });

/** Rows of a span that come back to rank 0, the last ones of it. */
function rowsReturned({ rows, sample, everyRow }: StepSpan): number {
  if (everyRow) return rows;
  return sample ? 1 : 0;
}

/** @returns the rows that come back, one span after another. */
function returnedRows(spans: readonly StepSpan[], hidden: Float32Array, hiddenSize: number): Float32Array {
  const parts: Float32Array[] = [];
  let row = 0;
  for (const span of spans) {
    row += span.rows;
    const count = rowsReturned(span);
    if (count > 0) parts.push(hidden.subarray((row - count) * hiddenSize, row * hiddenSize));
  }
  return parts.reduce((sum, { length }) => sum + length, 0) === hidden.length ? hidden : joined(parts, hiddenSize);
}

function joined(parts: readonly Float32Array[], hiddenSize: number): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  invariant(at % hiddenSize === 0, "rows were cut");
  return all;
}
