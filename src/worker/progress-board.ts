/**
 * What the engine thread tells while it computes, in memory that both threads see: the thread that answers Probe reads it
 * without asking the one that is busy. Times are the monotonic clock that all threads of a process share.
 */

import { computeSecondsBounds } from "../core/worker-protocol.js";

const cells = ["progress", "progressAtNs", "bytesLoaded", "bytesTotal", "weightBytes", "kvBytes", "steps", "computeMicros", "cancelledLoad"] as const;
type Cell = (typeof cells)[number];

export class ProgressBoard {
  readonly memory: SharedArrayBuffer;
  readonly #cells: BigInt64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8 * (cells.length + computeSecondsBounds.length + 1))) {
    this.memory = memory;
    this.#cells = new BigInt64Array(memory);
  }

  /** One more part of a step, or one more chunk of a load, is done. */
  advance(): void {
    this.#add("progress", 1);
    this.set("progressAtNs", Number(process.hrtime.bigint()));
  }

  set(cell: Cell, value: number): void { Atomics.store(this.#cells, cells.indexOf(cell), BigInt(Math.trunc(value))); }
  get(cell: Cell): number { return Number(Atomics.load(this.#cells, cells.indexOf(cell))); }

  computed(computeMs: number, countsAsStep: boolean): void {
    if (countsAsStep) this.#add("steps", 1);
    this.#add("computeMicros", computeMs * 1_000);
    const bound = computeSecondsBounds.findIndex((seconds) => computeMs <= seconds * 1_000);
    Atomics.add(this.#cells, cells.length + (bound < 0 ? computeSecondsBounds.length : bound), 1n);
  }

  /** See `ProbeReply.computeCounts`. */
  computeCounts(): number[] { return Array.from(this.#cells.subarray(cells.length), Number); }

  /** Milliseconds since the last `advance`; since `sinceNs` when that is later. */
  ageMs(sinceNs: number): number {
    return Math.max(0, (Number(process.hrtime.bigint()) - Math.max(sinceNs, this.get("progressAtNs"))) / 1e6);
  }

  #add(cell: Cell, by: number): void { Atomics.add(this.#cells, cells.indexOf(cell), BigInt(Math.trunc(by))); }
}
