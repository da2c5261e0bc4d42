/**
 * Memory for the next tokens. A running sequence reserves a stretch ahead of its length; one that has used it up asks for the
 * next. When there is none left, the youngest sequence gives way: because a sequence that is computed again comes out with the
 * same bits, taking its memory costs time and nothing else.
 *
 * Rejected: reserving every answer's longest at admission. Most clients name no maximum, so the longest is the whole context,
 * and a machine that could run eight answers would run two.
 */
import type { CacheOp } from "../../core/worker-protocol.js";
import type { Sequence } from "./sequence.js";
import type { SlotTable } from "./slots.js";

/**
 * Oldest first, so that the oldest always goes on. A sequence whose room has to be waited for is `paused`.
 * @param preempt puts a sequence with nothing in flight back into the line.
 * @returns false when somebody waits for memory: then nobody new is to be let in.
 */
export function extendReservations(running: readonly Sequence[], slots: SlotTable, aheadTokens: number, ops: CacheOp[], preempt: (victim: Sequence) => void): boolean {
  const needy: Sequence[] = [];
  for (const sequence of running) {
    sequence.paused = false;
    if ((sequence.decodable || sequence.aheadable) && sequence.scheduled + 1 > slots.at(sequence.slot).reserved) needy.push(sequence);
  }
  needy.sort(byAge);
  for (const sequence of needy) {
    // Given way to an older one in this very round.
    if (sequence.slot < 0) continue;
    sequence.paused = !makeRoom(sequence, running, slots, aheadTokens, ops, preempt);
  }
  return !running.some((sequence) => sequence.paused || sequence.preempting);
}

function makeRoom(sequence: Sequence, running: readonly Sequence[], slots: SlotTable, aheadTokens: number, ops: CacheOp[], preempt: (victim: Sequence) => void): boolean {
  const slot = slots.at(sequence.slot);
  const needed = sequence.scheduled + 1;
  while (!slots.grow(slot, Math.min(sequence.lengthMax, needed + aheadTokens), ops) && !slots.grow(slot, needed, ops)) {
    // Somebody is about to leave: their memory is enough to wait for.
    if (running.some((other) => other.inflight > 0 && (other.ended || other.preempting))) return false;
    const victim = youngest(running);
    if (!victim || victim === sequence) return false;
    if (victim.inflight > 0) { victim.preempting = true; return false; }
    preempt(victim);
  }
  return true;
}

const byAge = (a: Sequence, b: Sequence): number => a.orderMs - b.orderMs || a.id - b.id;

function youngest(running: readonly Sequence[]): Sequence | undefined {
  let found: Sequence | undefined;
  for (const sequence of running) if (!sequence.ended && !sequence.preempting && (!found || byAge(sequence, found) > 0)) found = sequence;
  return found;
}
