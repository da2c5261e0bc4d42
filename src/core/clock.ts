/**
 * Time as an argument. Pure cores never look at a clock: drivers pass `now` in. Only drivers hold a `Clock`.
 * Monotonic: does not step with NTP or a person's hand; it may stand still while the machine sleeps.
 */
import { type Millis, millis } from "./ids.js";

export interface Clock {
  /** Monotonic milliseconds. */
  now(): Millis;
  /** Wall clock, Unix milliseconds: only for what people and certificates read. */
  wallMs(): number;
}

export const systemClock: Clock = {
  now: () => millis(performance.now()),
  wallMs: () => Date.now(),
};

/** Resolves after `ms`, or rejects with the signal's reason. The timer does not keep the process alive when `unref` is set. */
export function sleep(ms: number, options: { readonly signal?: AbortSignal; readonly unref?: boolean } = {}): Promise<void> {
  const { signal, unref } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) { reject(signal.reason as Error); return; }
    const onAbort = () => { clearTimeout(timer); reject(signal?.reason as Error); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", onAbort); resolve(); }, ms);
    if (unref) timer.unref();
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Aborts when the time is over, or with the other signal. In place of `AbortSignal.any([AbortSignal.timeout(ms), signal])`: Node 20 holds
 * the timeout's signal weakly there, and once it is collected nobody is told. Does not keep the process alive.
 */
export function timeoutSignal(ms: number, signal?: AbortSignal): AbortSignal {
  const late = new AbortController();
  setTimeout(() => { late.abort(new DOMException(`not within ${ms} ms`, "TimeoutError")); }, ms).unref();
  return signal ? AbortSignal.any([late.signal, signal]) : late.signal;
}

/** Named timers with one owner: `stop()` ends them all. A callback that throws reaches `onError`, and the timer goes on. */
export class Timers {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #onError: (name: string, error: unknown) => void;

  constructor(onError: (name: string, error: unknown) => void) { this.#onError = onError; }

  /** Starts, or replaces, the timer of that name. */
  every(name: string, intervalMs: number, callback: () => void | Promise<void>): void {
    this.cancel(name);
    this.#timers.set(name, setInterval(() => { this.#call(name, callback); }, intervalMs));
  }

  /** Starts, or replaces, the timer of that name, which fires once. */
  after(name: string, waitMs: number, callback: () => void): void {
    this.cancel(name);
    this.#timers.set(name, setTimeout(() => { this.#call(name, callback); }, waitMs));
  }

  cancel(name: string): void {
    clearInterval(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #call(name: string, callback: () => void | Promise<void>): void {
    try {
      const running = callback();
      if (running) running.catch((error: unknown) => this.#onError(name, error));
    } catch (error) { this.#onError(name, error); }
  }

  stop(): void { for (const name of this.#timers.keys()) this.cancel(name); }
}
