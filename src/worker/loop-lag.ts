/** The worst delay of this process's event loop in the last second or two: what a probe would have had to wait. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

// Coarse, because each sample wakes an idle process: what is judged by it is tenths of a second and more.
const resolutionMs = 50;
const windowMs = 1_000;

export class LoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  readonly #timer: NodeJS.Timeout;
  #lastWindowMs = 0;

  constructor() {
    this.#histogram.enable();
    this.#timer = setInterval(() => {
      this.#lastWindowMs = this.#currentMs();
      this.#histogram.reset();
    }, windowMs);
    this.#timer.unref();
  }

  get worstMs(): number { return Math.max(this.#lastWindowMs, this.#currentMs()); }

  stop(): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }

  /** The histogram counts from tick to tick, the interval itself included. */
  #currentMs(): number { return this.#histogram.count === 0 ? 0 : Math.max(0, this.#histogram.max / 1e6 - resolutionMs); }
}
