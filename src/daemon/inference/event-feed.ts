/**
 * From callbacks to an async iterable: the tokens of one sequence on their way to whoever reads it. Tokens that arrive before
 * the reader comes back are handed over together. Bounded by the answer's own length.
 */
import type { GenerateEvent, GeneratedToken } from "./generate.js";

export class EventFeed {
  #events: GenerateEvent[] = [];
  #tokens: GeneratedToken[] = [];
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  token(token: GeneratedToken): void {
    if (this.#tokens.length === 0) this.#events.push({ kind: "tokens", tokens: this.#tokens });
    this.#tokens.push(token);
    this.#wake?.();
  }

  event(event: GenerateEvent): void {
    this.#tokens = [];
    this.#events.push(event);
    this.#wake?.();
  }

  /** What was pushed before is still read; then the iterable ends, or throws `error`. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *read(): AsyncGenerator<GenerateEvent, void, undefined> {
    for (;;) {
      const events = this.#events;
      this.#events = [];
      this.#tokens = [];
      yield* events;
      if (this.#events.length > 0) continue;
      if (this.#ended) {
        if (this.#error) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => { this.#wake = resolve; });
      this.#wake = undefined;
    }
  }
}
