/**
 * Executes steps on one loaded stage, in the engine thread: checks, cache operations, embedding, layers, head, sampling.
 * One call a step and rank; `beginRing` and `finishRing` are the two halves of rank 0's part when other ranks lie between.
 *
 * Invariants: a step that is refused has changed nothing (but the first of a run, which empties what is not kept). A sequence samples
 * with the parameters and history its step began with, even when its slot has been given to another one meanwhile. No number that is
 * not finite leaves a stage: the rows of a sequence whose numbers went bad are set to zero and its fault is told, and the sequences
 * beside it are computed as if it were not there.
 */
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import type { CacheOp, Fault, Keep, Sampled, StepSpan } from "../core/worker-protocol.js";
import type { LayerRange } from "../model/spec.js";
import { BoundaryStore } from "./boundary-store.js";
import type { Stage } from "./engines/engine.js";
import type { Grammars } from "./grammars.js";
import { type Awaited, type Head, conclude } from "./last-rows.js";
import type { FinalNorm } from "./pool.js";
import { joined, returnedRows, rowsReturned, screen } from "./rows.js";
import { type StageHoldings, type StepLimits, checkHidden, checkStep, computedBy } from "./step-check.js";
import { TextSlots } from "./text-slots.js";

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

export class StageRunner {
  readonly #stage: Stage;
  readonly #limits: StepLimits;
  readonly #layers: LayerRange;
  readonly #onProgress: () => void;
  readonly #text: TextSlots | undefined;
  readonly #awaited = new Map<number, { readonly text: TextSlots; readonly awaited: readonly Awaited[]; readonly faults: readonly Fault[] }>();
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
    const { text, awaited, tokens } = this.#begin(ops, spans);
    const computed = spans.filter(this.#computes);
    const { hidden, faults } = this.#forward(computed, this.#embed(tokens));
    return conclude(awaited, returnedRows(computed, hidden, this.#limits.hiddenSize), faults, text, this.#head);
  }

  /** Rank 0's layers. @param key under which `finishRing` finds the step again. @returns [rows, hiddenSize]: those that rank 1 computes. */
  beginRing(key: number, ops: readonly CacheOp[], spans: readonly StepSpan[]): Float32Array {
    const { text, awaited, tokens } = this.#begin(ops, spans);
    const { hidden, faults } = this.#forward(spans.filter(this.#computes), this.#embed(tokens));
    this.#awaited.set(key, { text, awaited, faults });
    return this.#handOn(spans, hidden);
  }

  /** @param hidden [rows, hiddenSize]: what the last rank returned. @param faults of the ranks between. */
  finishRing(key: number, hidden: Float32Array, faults: readonly Fault[] = []): readonly Sampled[] {
    const begun = this.#awaited.get(key);
    invariant(begun, "a step is finished that was not begun");
    this.#awaited.delete(key);
    const { awaited } = begun;
    checkHidden(hidden, awaited.reduce((sum, { rows }) => sum + rows, 0), this.#limits.hiddenSize);
    const arrived = screen(awaited, hidden, this.#limits.hiddenSize, "the activations that came back to rank 0 are not finite numbers");
    return conclude(awaited, hidden, [...begun.faults, ...faults, ...arrived], begun.text, this.#head);
  }

  /** A step that will not come back. */
  forget(key: number): void { this.#awaited.delete(key); }

  /** @param hidden [rows, hiddenSize]: those that this rank computes. @param last returns only the rows that rank 0 waits for. */
  pass(ops: readonly CacheOp[], spans: readonly StepSpan[], hidden: Float32Array, last: boolean): { readonly hidden: Float32Array; readonly faults: readonly Fault[] } {
    const rows = this.#check(ops, spans);
    const computed = spans.filter(this.#computes);
    checkHidden(hidden, rows, this.#limits.hiddenSize);
    const arrived = screen(computed, hidden, this.#limits.hiddenSize, `the activations that reached rank ${this.#rank} are not finite numbers`);
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

  get #head(): Head {
    const { hiddenSize, vocabSize } = this.#limits;
    return { hiddenSize, vocabSize, logits: (hidden) => { const logits = this.#stage.head(hidden); this.#onProgress(); return logits; } };
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
  #begin(ops: readonly CacheOp[], spans: readonly StepSpan[]): { readonly text: TextSlots; readonly awaited: readonly Awaited[]; readonly tokens: Int32Array } {
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
    return { text, awaited, tokens: all };
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
    return { hidden: output, faults: screen(spans, output, this.#limits.hiddenSize, `layers ${this.#layers.first} to ${this.#layers.end - 1} (rank ${this.#rank}) computed numbers that are not finite`) };
  }
}
