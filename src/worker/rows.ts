/** Rows of activations: which of a step's come back to rank 0, and how they are cut and joined. */
import { invariant } from "../core/invariant.js";
import type { Fault, StepSpan } from "../core/worker-protocol.js";
import { allFinite } from "./vocabulary-math.js";

/** Rows of a span that come back to rank 0, the last ones of it. */
export function rowsReturned({ rows, sample, everyRow }: StepSpan): number {
  if (everyRow) return rows;
  return sample ? 1 : 0;
}

/** @param hidden [rows of the spans, hiddenSize]. @returns the rows that come back, one span after another. */
export function returnedRows(spans: readonly StepSpan[], hidden: Float32Array, hiddenSize: number): Float32Array {
  const parts: Float32Array[] = [];
  let row = 0;
  for (const span of spans) {
    row += span.rows;
    const count = rowsReturned(span);
    if (count > 0) parts.push(hidden.subarray((row - count) * hiddenSize, row * hiddenSize));
  }
  return parts.reduce((sum, { length }) => sum + length, 0) === hidden.length ? hidden : joined(parts, hiddenSize);
}

export function joined(parts: readonly Float32Array[], hiddenSize: number): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  invariant(at % hiddenSize === 0, "rows were cut");
  return all;
}

/**
 * Sets the rows of every sequence with a number that is not finite to zero.
 * @param hidden [rows of the spans, hiddenSize]; changed. @param error what is told of them. @returns those sequences.
 */
export function screen(spans: readonly { readonly slot: number; readonly rows: number }[], hidden: Float32Array, hiddenSize: number, error: string): readonly Fault[] {
  // One look over everything is all that a sound step costs.
  if (allFinite(hidden)) return [];
  const faults: Fault[] = [];
  let row = 0;
  for (const { slot, rows } of spans) {
    const own = hidden.subarray(row * hiddenSize, (row + rows) * hiddenSize);
    row += rows;
    if (allFinite(own)) continue;
    own.fill(0);
    faults.push({ slot, error });
  }
  return faults;
}
