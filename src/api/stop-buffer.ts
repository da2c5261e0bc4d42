/**
 * Stop strings over a text that arrives in pieces. Pure.
 *
 * Invariants, whatever the pieces are:
 *  - what is released never contains a stop string, nor the beginning of one that the next piece may complete;
 *  - the text ends before the stop string that *completes* first (of two completing together: the longer), which is what
 *    reading character by character would find, so the result does not depend on how the text was cut.
 */

export interface Released {
  readonly text: string;
  /** True when a stop string was met: the answer is over, and everything from the stop string on is discarded. */
  readonly stopped: boolean;
  /** Which one; only when stopped. */
  readonly stop?: string;
}

export class StopBuffer {
  readonly #stops: readonly string[];
  readonly #longest: number;
  #held = "";

  /** @param stops non-empty strings. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#longest = Math.max(0, ...stops.map((stop) => stop.length));
  }

  /** Length of the text that waits for the next piece, in UTF-16 units. */
  get heldLength(): number { return this.#held.length; }

  push(piece: string): Released {
    if (this.#longest === 0) return { text: piece, stopped: false };
    const text = this.#held + piece;
    const match = this.#firstMatch(text);
    if (match !== undefined) {
      this.#held = "";
      return { text: text.slice(0, match.start), stopped: true, stop: match.stop };
    }
    const keep = this.#possibleStart(text);
    this.#held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** The answer ended otherwise: what was held is text after all. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** The stop string that completes first. */
  #firstMatch(text: string): { readonly start: number; readonly stop: string } | undefined {
    let first: { readonly start: number; readonly stop: string } | undefined;
    let end = Infinity;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at < 0) continue;
      if (at + stop.length < end || (at + stop.length === end && at < (first?.start ?? Infinity))) {
        first = { start: at, stop };
        end = at + stop.length;
      }
    }
    return first;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #possibleStart(text: string): number {
    for (let length = Math.min(this.#longest - 1, text.length); length > 0; length -= 1) {
      const end = text.slice(text.length - length);
      if (this.#stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
    }
    return 0;
  }
}
