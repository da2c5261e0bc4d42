/**
 * Tokens to text as they come. Holds back the bytes of a character that is not complete yet and nothing else, so that what it has emitted
 * is always a prefix of the final text and never ends within a UTF-8 sequence. Bytes that can no longer become a character come out as U+FFFD.
 * A user-perceived character may still span two emissions (an emoji and its modifier): each is whole code points.
 */
export class StreamDecoder {
  readonly #bytesOf: (token: number) => Uint8Array;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #leadingSpaces: number;

  /** @param leadingSpaces how many spaces to take away from the beginning of the text. */
  constructor(bytesOf: (token: number) => Uint8Array, leadingSpaces: number) {
    this.#bytesOf = bytesOf;
    this.#leadingSpaces = leadingSpaces;
  }

  /** @returns the text that this token completes, often "". */
  push(token: number): string {
    return this.#strip(this.#utf8.decode(this.#bytesOf(token), { stream: true }));
  }

  /** Ends the text: what was held back can no longer be completed. The decoder starts afresh for another text without leading spaces. */
  flush(): string {
    return this.#strip(this.#utf8.decode());
  }

  #strip(text: string): string {
    let start = 0;
    while (this.#leadingSpaces > 0 && start < text.length) {
      if (text[start] === " ") {
        start += 1;
        this.#leadingSpaces -= 1;
      } else {
        this.#leadingSpaces = 0;
      }
    }
    return text.slice(start);
  }
}
