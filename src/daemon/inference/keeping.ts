/**
 * What a lost ring leaves behind in the workers that live on. Steps are answered only when every rank has computed them, so what the answered
 * steps made is cached on every rank whose process survived; what a step without an answer touched is doubtful and not counted.
 *
 * The next run names it (`Keep`), and each rank says which of it it holds: the run that touched a rank's cache last proves that nobody else
 * has been there. Slots that some ranks lack become cached prefixes that only those ranks compute again, from what the rank before them kept
 * of its results. So nothing is recomputed that was not lost, and every number is either the old one or computed as it was the first time.
 */
import type { CacheOp, Keep, RankHeld, StepSpan } from "../../core/worker-protocol.js";
import type { RingPlan } from "./scheduler-types.js";
import type { SlotTable } from "./slots.js";

export interface LeftBehind {
  readonly plan: RingPlan;
  readonly slots: SlotTable;
  readonly keep: Keep;
}

/** @param doubtful steps without an answer, and operations that were not sent. @param runs that may have touched the caches last. */
export function leftBehind(plan: RingPlan, slots: SlotTable, doubtful: readonly { readonly ops: readonly CacheOp[]; readonly spans: readonly StepSpan[] }[], runs: readonly number[]): LeftBehind | undefined {
  const bounds = new Map<number, number>();
  const bound = (slot: number, length: number): void => { bounds.set(slot, Math.min(length, bounds.get(slot) ?? Infinity)); };
  for (const { ops, spans } of doubtful) {
    for (const op of ops) {
      if (op.op === "drop") bound(op.drop.slot, 0);
      else if (op.op === "copy") bound(op.copy.to, 0);
    }
    for (const { slot, position } of spans) bound(slot, position);
  }
  const kept = slots.certain((slot) => bounds.get(slot) ?? Infinity);
  return runs.length === 0 || kept.length === 0 ? undefined : { plan, slots, keep: { runs, slots: kept } };
}

/** A plan of the same shape. Whether it is the same plan the ranks know: a new one has emptied their caches. */
export function fits(left: LeftBehind | undefined, plan: RingPlan): left is LeftBehind {
  return left !== undefined && JSON.stringify(left.plan) === JSON.stringify(plan);
}

/** @returns the ranks that lack a slot; undefined when it is of no use: nobody holds it, or a rank does not know of keeping. */
export function lackingRanks(slot: number, held: readonly RankHeld[], worldSize: number): readonly number[] | undefined {
  const lacking: number[] = [];
  for (let rank = 0; rank < worldSize; rank += 1) {
    const told = held.find((one) => one.rank === rank);
    if (!told) return undefined;
    if (!told.slots.includes(slot)) lacking.push(rank);
  }
  return lacking.length === worldSize ? undefined : lacking;
}
