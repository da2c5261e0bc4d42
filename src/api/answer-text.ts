/**
 * The tokens of one answer become its text: decoding, stop tokens, stop strings, and the count. Pure.
 * Rebuilt from the tokens alone, so it is the same after a resume.
 */
import type { GeneratedToken } from "../daemon/inference/generate.js";
import type { StreamDecoder } from "../model/stream-decoder.js";
import { StopBuffer } from "./stop-buffer.js";

/** UTF-8 is never cut: a piece is empty while a character is incomplete. */
export type PieceDecoder = Pick<StreamDecoder, "push" | "flush">;

export interface AnswerTextOptions {
  readonly decoder: PieceDecoder;
  /** Their text is not part of the answer. */
  readonly stopTokens: readonly number[];
  readonly stops: readonly string[];
}

export class AnswerText {
  readonly #decoder: PieceDecoder;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #stops: StopBuffer;
  #completionTokens = 0;

  constructor(options: AnswerTextOptions) {
    this.#decoder = options.decoder;
    this.#stopTokens = new Set(options.stopTokens);
    this.#stops = new StopBuffer(options.stops);
  }

  /** Tokens of the answer so far, the one that ended it included. */
  get completionTokens(): number { return this.#completionTokens; }

  /** @returns the text that is certain now, and whether a stop string has ended the answer. */
  push(tokens: readonly GeneratedToken[]): { readonly text: string; readonly stopped: boolean } {
    let text = "";
    for (const { token } of tokens) {
      this.#completionTokens += 1;
      if (this.#stopTokens.has(token)) continue;
      const released = this.#stops.push(this.#decoder.push(token));
      text += released.text;
      if (released.stopped) return { text, stopped: true };
    }
    return { text, stopped: false };
  }

  /** After the last token: the text that was held back. */
  end(): { readonly text: string; readonly stopped: boolean } {
    const last = this.#stops.push(this.#decoder.flush());
    return last.stopped ? last : { text: last.text + this.#stops.flush(), stopped: false };
  }
}
