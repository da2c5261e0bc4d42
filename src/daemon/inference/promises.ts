/**
 * What a full line tells those it sends away, and how that comes true. The times it gives out follow each other at the pace at which places
 * become free, and who comes back then goes before newcomers. Without the first, everybody would come back at once; without the second,
 * newcomers would have taken the place. Who comes back is known by what is asked: the same prompt. Two who ask the same are taken for each other.
 *
 * Not everybody comes back. The share that does is learnt, and the times are as close together as it allows.
 */
import type { SubmittedRequest } from "./scheduler-types.js";

/** Further away nothing is promised: the time is then the best guess. */
const waitMaxMs = 600_000;
const promisesMax = 10_000;
/** A client's clock and its way here. */
const earlyMs = 500;
const graceMs = 10_000;
/** Weight of the newest one that came or did not. */
const smoothing = 0.05;
const comingMin = 0.1;

interface Promised { readonly key: number; readonly dueMs: number; open: boolean }

export class Promises {
  /** In the order of their times; those that were kept stay until their turn. */
  readonly #given: Promised[] = [];
  /** The open ones of each request, in the same order. */
  readonly #byKey = new Map<number, Promised[]>();
  #open = 0;
  #lastDueMs = 0;
  /** Share of those sent away that come back. */
  #coming = 1;

  /** Those that are expected to come back for a place. */
  expected(nowMs: number): number {
    this.#forget(nowMs);
    return this.#open * this.#coming;
  }

  /** @param intervalMs in which a place becomes free. @returns milliseconds to wait. */
  give(request: SubmittedRequest, nowMs: number, intervalMs: number): number {
    this.#forget(nowMs);
    const dueMs = Math.max(nowMs + intervalMs, this.#lastDueMs + intervalMs * this.#coming);
    if (dueMs - nowMs > waitMaxMs || this.#given.length >= promisesMax) return Math.min(dueMs - nowMs, waitMaxMs);
    this.#lastDueMs = dueMs;
    const promised = { key: keyOf(request), dueMs, open: true };
    this.#given.push(promised);
    const same = this.#byKey.get(promised.key);
    if (same) same.push(promised);
    else this.#byKey.set(promised.key, [promised]);
    this.#open += 1;
    return dueMs - nowMs;
  }

  /** @returns whether this is somebody who was told to come back now; then it is done with. */
  take(request: SubmittedRequest, nowMs: number): boolean {
    this.#forget(nowMs);
    if (this.#open === 0) return false;
    const promised = this.#byKey.get(keyOf(request))?.[0];
    if (!promised || nowMs < promised.dueMs - earlyMs) return false;
    this.#close(promised, 1);
    return true;
  }

  #forget(nowMs: number): void {
    let past = 0;
    for (const promised of this.#given) {
      if (promised.open && promised.dueMs + graceMs > nowMs) break;
      past += 1;
      if (promised.open) this.#close(promised, 0);
    }
    if (past > 0) this.#given.splice(0, past);
  }

  /** Always the oldest of its key. */
  #close(promised: Promised, came: 0 | 1): void {
    promised.open = false;
    this.#open -= 1;
    this.#coming = Math.max(comingMin, this.#coming + smoothing * (came - this.#coming));
    const same = this.#byKey.get(promised.key);
    same?.shift();
    if (same?.length === 0) this.#byKey.delete(promised.key);
  }
}

/** FNV-1a. */
function keyOf({ prompt, maxTokens }: SubmittedRequest): number {
  let hash = 0x811c9dc5;
  for (const word of [...prompt, maxTokens]) hash = Math.imul(hash ^ word, 0x01000193) >>> 0;
  return hash;
}
