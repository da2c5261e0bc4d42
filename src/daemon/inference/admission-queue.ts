/**
 * Who waits for a place, in which order, and what the next one in line is told when the line is full.
 *
 * Order is arrival, shifted: a resumed answer, which somebody is already reading, goes before new ones, and a batch request goes
 * behind interactive ones. The shifts are bounded, so that nobody is overtaken for ever. The head is never passed over
 * because it is big: what it needs is kept for it.
 */
import { Promises } from "./promises.js";
import type { SequenceId, SubmittedRequest } from "./scheduler-types.js";
import type { Sequence } from "./sequence.js";

const resumedAdvanceMs = 60_000;
const batchHandicapMs = 30_000;
/** Before anything has been measured. */
const finishIntervalInitialMs = 1_000;
/** Weight of the newest interval. */
const smoothing = 0.2;

export function orderMsOf(request: SubmittedRequest, nowMs: number): number {
  return nowMs - (request.emitted.length > 0 ? resumedAdvanceMs : 0) + (request.priority === "batch" ? batchHandicapMs : 0);
}

export class AdmissionQueue {
  readonly #max: number;
  readonly #waiting: Sequence[] = [];
  readonly #promises = new Promises();
  #finishIntervalMs = finishIntervalInitialMs;
  #lastFinishMs: number | undefined;

  constructor(max: number) { this.#max = max; }

  get length(): number { return this.#waiting.length; }
  get head(): Sequence | undefined { return this.#waiting[0]; }

  /**
   * Resumed requests were let in before: they find room of their own, so that a fault cannot turn them away. Who was sent away and comes back
   * finds half as much; newcomers leave free what is promised, but never so much that the line could run dry.
   */
  full(request: SubmittedRequest, nowMs: number): boolean {
    if (request.emitted.length > 0) return this.#waiting.length >= 2 * this.#max;
    if (this.#promises.take(request, nowMs)) return this.#waiting.length >= this.#max + Math.ceil(this.#max / 2);
    return this.#waiting.length + Math.min(Math.floor(this.#max / 2), this.#promises.expected(nowMs)) >= this.#max;
  }

  push(sequence: Sequence): void {
    let at = this.#waiting.length;
    while (at > 0 && (this.#waiting[at - 1]?.orderMs ?? 0) > sequence.orderMs) at -= 1;
    this.#waiting.splice(at, 0, sequence);
  }

  shift(): void { this.#waiting.shift(); }

  remove(id: SequenceId): void {
    const at = this.#waiting.findIndex((sequence) => sequence.id === id);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  *[Symbol.iterator](): IterableIterator<Sequence> { yield* this.#waiting; }

  /** A running sequence made room. @param busySinceMs when the ring last had nothing to do: idle time says nothing about its speed. */
  finished(nowMs: number, busySinceMs: number): void {
    const intervalMs = nowMs - Math.max(this.#lastFinishMs ?? busySinceMs, busySinceMs);
    this.#finishIntervalMs += smoothing * (intervalMs - this.#finishIntervalMs);
    this.#lastFinishMs = nowMs;
  }

  /** To a request that `full` has turned away: whole seconds after which, at the measured rate, it will be let in. */
  retryAfterSeconds(request: SubmittedRequest, nowMs: number): number {
    return Math.max(1, Math.ceil(this.#promises.give(request, nowMs, this.#finishIntervalMs) / 1_000));
  }
}
