/**
 * Which rows go into the next step. Two promises: a decoding sequence gets its token in every step it is ready for, whatever
 * prompts arrive, and a prompt gets its share of every step, however many sequences decode.
 *
 * With several machines in the ring the decoding sequences are dealt out over as many steps as there are machines, so that
 * each machine works on one group while the others travel.
 */
import type { RingPlan } from "./scheduler-types.js";
import { type Sequence, chunkRows, chunkRowsMin } from "./sequence.js";

export interface Rows { readonly sequence: Sequence; readonly rows: number }

/** A prompt this many times shorter than the one at the head of the line gets half of the step, instead of waiting behind it. */
const shortPromptRatio = 4;

/**
 * The rows of a step that is sent before its turn, and may feed tokens which are being sampled just now. None while a prompt is
 * computed or waits to be, so that prompts never stand behind two steps of others.
 */
export function chooseRowsAhead(running: readonly Sequence[], plan: RingPlan): Rows[] {
  if (running.some((sequence) => !sequence.ended && (!sequence.started || sequence.prefilling))) return [];
  const decoding = running.filter((sequence) => !sequence.ended && !sequence.preempting && !sequence.paused);
  return dealt(decoding.filter((sequence) => sequence.decodable || sequence.aheadable), decoding.length, plan);
}

/** @param running in order of admission; only started sequences are considered. */
export function chooseRows(running: readonly Sequence[], plan: RingPlan, mixedPrefillTokens: number): Rows[] {
  const chosen: Rows[] = [];
  let decoding = 0;
  const ready: Sequence[] = [];
  const prefilling: Sequence[] = [];
  for (const sequence of running) {
    if (!sequence.started || sequence.ended || sequence.preempting || sequence.paused) continue;
    if (sequence.prefilling) { prefilling.push(sequence); continue; }
    decoding += 1;
    if (sequence.decodable) ready.push(sequence);
  }
  chosen.push(...dealt(ready, decoding, plan));

  const chunk = Math.max(chunkRowsMin, plan.prefillChunk);
  let budget = decoding > 0 ? Math.max(chunkRowsMin, Math.min(chunk, mixedPrefillTokens)) : chunk;
  for (const { sequence, rowsMax } of prefillOrder(prefilling, budget)) {
    if (chosen.length >= plan.batchMax) break;
    const rows = chunkRows(sequence.prefillRemaining, Math.min(budget, rowsMax));
    if (rows === 0) continue;
    chosen.push({ sequence, rows });
    budget -= rows;
  }
  return chosen;
}

/** Those of the ready sequences whose turn it is, one row each. */
function dealt(ready: readonly Sequence[], decoding: number, plan: RingPlan): Rows[] {
  const group = Math.min(plan.batchMax, Math.ceil(decoding / plan.worldSize));
  const inTurn = ready.length > group ? ready.toSorted((a, b) => a.lastStepSeq - b.lastStepSeq).slice(0, group) : ready;
  return inTurn.map((sequence) => ({ sequence, rows: 1 }));
}

function prefillOrder(prefilling: Sequence[], budget: number): { sequence: Sequence; rowsMax: number }[] {
  prefilling.sort((a, b) => a.orderMs - b.orderMs || a.id - b.id);
  const order = prefilling.map((sequence) => ({ sequence, rowsMax: budget }));
  const [head] = prefilling;
  if (!head || budget < 2 * chunkRowsMin) return order;
  let shortest = head;
  for (const sequence of prefilling) if (sequence.prefillRemaining < shortest.prefillRemaining) shortest = sequence;
  if (shortest.prefillRemaining * shortPromptRatio > head.prefillRemaining) return order;
  return [{ sequence: shortest, rowsMax: Math.floor(budget / 2) }, ...order.filter((entry) => entry.sequence !== shortest)];
}
