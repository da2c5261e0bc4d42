/**
 * How a sequence gets the part of its prompt that is in the cache already: it takes over a finished sequence's slot, copies from
 * one that another sequence is using, or waits a moment for one that is computing the same prompt just now (so that n answers
 * to one prompt cost one prefill). What remains is always a chunk of at least two rows.
 */
import type { Sequence } from "./sequence.js";
import type { Prefix, SlotTable } from "./slots.js";

/** Rows that a sequence computes in any case: waiting to save fewer is not worth a step. */
const gainRowsMin = 2;

/** @param whole on every rank: a prefix that some lack can be taken over, not copied. @returns the best prefix in the cache now, or `wait` when a running sequence will soon hold a longer one. */
export function findPrefix(sequence: Sequence, running: readonly Sequence[], slots: SlotTable, prefixTokensMin: number, { whole }: { readonly whole: boolean }): Prefix | "wait" | undefined {
  const best = slots.longestPrefix(sequence.tokens, sequence.sharableMax, whole);
  const worthWaiting = Math.max(prefixTokensMin, (best?.length ?? 0) + gainRowsMin);
  if (sequence.sharableMax < worthWaiting) return best;
  for (const other of running) {
    if (other === sequence || !other.started || other.ended || other.preempting || !other.prefilling || other.pooling) continue;
    const max = Math.min(other.prefillEnd, sequence.sharableMax);
    if (max >= worthWaiting && sharesAtLeast(other.tokens, sequence.tokens, worthWaiting)) return "wait";
  }
  return best;
}

function sharesAtLeast(a: readonly number[], b: readonly number[], length: number): boolean {
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return false;
  return true;
}
