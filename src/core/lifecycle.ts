/** Ordered shutdown: what was started last is stopped first, each within its own bound, and none is skipped because another failed. */
import { sleep } from "./clock.js";

interface Stoppable { readonly name: string; readonly stop: () => void | Promise<void>; readonly timeoutMs: number }

export class Lifecycle {
  readonly #stack: Stoppable[] = [];
  readonly #abort = new AbortController();
  readonly #onProblem: (message: string) => void;
  #stopping: Promise<void> | undefined;

  constructor(onProblem: (message: string) => void) { this.#onProblem = onProblem; }

  /** Aborted as soon as shutdown begins. */
  get signal(): AbortSignal { return this.#abort.signal; }

  onStop(name: string, stop: () => void | Promise<void>, timeoutMs = 5_000): void {
    this.#stack.push({ name, stop, timeoutMs });
  }

  /** Idempotent: every caller waits for the same shutdown. */
  stop(reason: string): Promise<void> {
    this.#stopping ??= this.#run(reason);
    return this.#stopping;
  }

  async #run(reason: string): Promise<void> {
    this.#abort.abort(new Error(reason));
    for (let item = this.#stack.pop(); item; item = this.#stack.pop()) {
      const { name, timeoutMs } = item;
      const stopped = new AbortController();
      const late = sleep(timeoutMs, { unref: true, signal: stopped.signal }).then(() => this.#onProblem(`${name} did not stop within ${timeoutMs} ms`), () => undefined);
      try {
        await Promise.race([Promise.resolve(item.stop()), late]);
      } catch (error) {
        this.#onProblem(`${name} failed to stop: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        stopped.abort();
      }
    }
  }
}
