/** Rank 0's end of a step: the rows behind the last layer become tokens and embeddings, and faults are told. */
import { type ErrorCode, MinidError } from "../core/errors.js";
import type { Fault, Sampled } from "../core/worker-protocol.js";
import { joined } from "./rows.js";
import type { TextSlot, TextSlots } from "./text-slots.js";

/** A span of a step under way whose rows come back after the last layer: the last one, to be sampled, or those that an embedding is made of. */
export interface Awaited { readonly slot: number; readonly text: TextSlot; /** After the span. */ readonly position: number; readonly rows: number; readonly sample: boolean }

export interface Head {
  readonly hiddenSize: number;
  readonly vocabSize: number;
  /** @param hidden [rows, hiddenSize]. @returns [rows, vocabSize], valid until the next call. */
  readonly logits: (hidden: Float32Array) => Float32Array;
}

/** Embeddings take their rows, the others are sampled. @param hidden [rows of `awaited`, hiddenSize], one span after another. */
export function conclude(awaited: readonly Awaited[], hidden: Float32Array, faults: readonly Fault[], text: TextSlots, head: Head): readonly Sampled[] {
  const { hiddenSize } = head;
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
  const whole = sampled.length === awaited.length && at === rows.length;
  concluded.push(...sample(sampled, whole ? hidden : joined(rows, hiddenSize), text, head));
  return concluded;
}

/** @param hidden [awaited, hiddenSize] */
function sample(awaited: readonly Awaited[], hidden: Float32Array, text: TextSlots, { logits, vocabSize }: Head): readonly Sampled[] {
  if (awaited.length === 0) return [];
  const values = logits(hidden);
  return awaited.map(({ slot, text: slotText, position }, row) => {
    try {
      return text.sample(slot, slotText, position, values.subarray(row * vocabSize, (row + 1) * vocabSize));
    } catch (error) {
      if (!(error instanceof MinidError)) throw error;
      slotText.feed(position, [0]);
      return failedSample(slot, error.code, error.message);
    }
  });
}

const failedSample = (slot: number, errorCode: ErrorCode, error: string): Sampled => ({ slot, token: 0, logprob: 0, top: [], errorCode, error });
