/**
 * The stage that a simulated worker holds: the key-value cache of its slots, as the tokens it was computed from. A row comes out right
 * only if everything before it is cached here, once and in its place; rank 0 samples right only if that is true on every rank.
 */
import type { Epoch } from "../../src/core/ids.js";
import type { CacheOp, StepSpan } from "../../src/core/worker-protocol.js";
import { RunOrder, type RunPlace } from "../../src/worker/run-order.js";

/** What travels round the ring, in the model: the tokens stand for the activations. */
export interface SimFrame extends RunPlace {
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly stepSeq: number;
  readonly ops: readonly CacheOp[];
  readonly spans: readonly StepSpan[];
  /** For each span: all ranks so far had exactly the same tokens cached. */
  readonly sums: readonly number[];
}

interface Slot { cache: number[]; history: number[]; seed: number }

export class StageRefusal extends Error {}

export class SimStage {
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly order = new RunOrder();
  readonly #slots = new Map<number, Slot>();

  constructor(epoch: Epoch, planVersion: number) {
    this.epoch = epoch;
    this.planVersion = planVersion;
  }

  /** Cache operations happen before the spans, in order. */
  operate(ops: readonly CacheOp[]): void {
    for (const op of ops) {
      if (op.op === "copy") this.#at(op.copy.to).cache = this.#at(op.copy.from).cache.slice(0, op.copy.length);
      else if (op.op === "drop") this.#slots.delete(op.drop.slot);
      else {
        const slot = this.#at(op.open.slot);
        slot.history = [...op.open.history];
        slot.seed = op.open.sampling?.seed ?? 0;
      }
    }
  }

  /** Rank 0 knows the text: a span that names no tokens is fed from the history. */
  embed(spans: readonly StepSpan[]): readonly StepSpan[] {
    return spans.map((span) => (span.tokens.length === span.rows ? span : { ...span, tokens: this.#at(span.slot).history.slice(span.position, span.position + span.rows) }));
  }

  /** @returns a checksum of what is cached of each span's slot, up to its last row. @throws StageRefusal */
  forward(spans: readonly StepSpan[]): readonly number[] {
    return spans.map((span) => {
      const { cache } = this.#at(span.slot);
      if (span.position > cache.length) throw new StageRefusal(`slot ${span.slot} holds ${cache.length} tokens, the span begins at ${span.position}`);
      cache.length = span.position;
      cache.push(...span.tokens);
      return checksum(cache);
    });
  }

  /** @returns the tokens known at rank 0 of a slot, and its seed. */
  text(slot: number): { readonly history: number[]; readonly seed: number } { return this.#at(slot); }

  #at(index: number): Slot {
    let slot = this.#slots.get(index);
    if (!slot) { slot = { cache: [], history: [], seed: 0 }; this.#slots.set(index, slot); }
    return slot;
  }
}

export function checksum(tokens: readonly number[]): number {
  let sum = tokens.length;
  for (const token of tokens) sum = Math.imul(sum ^ (token + 1), 16_777_619) >>> 0;
  return sum;
}
