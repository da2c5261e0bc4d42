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

/** Starts of the ring in a row that came to nothing and are remembered. */
const runsMax = 16;

interface LeftBehind { readonly plan: RingPlan; readonly slots: SlotTable; readonly keep: Keep }
interface Doubtful { readonly ops: readonly CacheOp[]; readonly spans: readonly StepSpan[] }

export class Keeping {
  /** Runs that may have touched the workers' caches last. */
  #runs: readonly number[] = [];
  #left: LeftBehind | undefined;
  #asked: Keep | undefined;

  /** Asked of the ranks, or to be asked, and not answered yet: until then nothing else is sent. */
  get asked(): Keep | undefined { return this.#asked; }

  /** @param doubtful steps without an answer, and operations that were not sent. */
  leave(plan: RingPlan, slots: SlotTable, doubtful: readonly Doubtful[]): void {
    this.#left = leftBehind(plan, slots, doubtful, this.#runs);
    this.#asked = undefined;
  }

  /** A ring begins. @param ops to travel with the question. @returns the slots that the lost ring left, if its plan was the same. */
  take(plan: RingPlan, ops: CacheOp[]): SlotTable | undefined {
    const left = this.#left;
    this.#left = undefined;
    // A plan of the same shape. Whether it is the same plan the ranks know: a new one has emptied their caches.
    if (!left || JSON.stringify(left.plan) !== JSON.stringify(plan)) { this.#runs = []; return undefined; }
    this.#asked = left.keep;
    this.#runs = left.keep.runs;
    left.slots.retain(left.keep.slots, ops);
    return left.slots;
  }

  /** A step was answered. @param run 0 when the worker tells none. */
  answered(run: number, held: readonly RankHeld[], slots: SlotTable, worldSize: number, ops: CacheOp[]): void {
    const asked = this.#asked;
    // A cache that was only asked about is still the work of an earlier run, until the next step reaches it.
    if (run !== 0) this.#runs = asked ? [...this.#runs, run].slice(-runsMax) : [run];
    this.#asked = undefined;
    for (const { slot } of asked?.slots ?? []) slots.settle(slot, lackingRanks(slot, held, worldSize), ops);
  }
}

function leftBehind(plan: RingPlan, slots: SlotTable, doubtful: readonly Doubtful[], runs: readonly number[]): LeftBehind | undefined {
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

/** @returns the ranks that lack a slot; undefined when it is of no use: nobody holds it, or a rank does not know of keeping. */
function lackingRanks(slot: number, held: readonly RankHeld[], worldSize: number): readonly number[] | undefined {
  const lacking: number[] = [];
  for (let rank = 0; rank < worldSize; rank += 1) {
    const told = held.find((one) => one.rank === rank);
    if (!told) return undefined;
    if (!told.slots.includes(slot)) lacking.push(rank);
  }
  return lacking.length === worldSize ? undefined : lacking;
}
