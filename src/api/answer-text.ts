/**
 * The tokens of one answer become its text: decoding, stop tokens, stop strings, and the count. Pure.
 * Rebuilt from the tokens alone, so it is the same after a resume.
 *
 * A token is released with the piece that holds the end of its text, so that what is reported of tokens (logprobs) never runs
 * ahead of the text and leaves out what a stop string discards.
 */
import type { GeneratedToken } from "../daemon/inference/generate.js";
import type { StreamDecoder } from "../model/stream-decoder.js";
import { StopBuffer } from "./stop-buffer.js";

/** UTF-8 is never cut: a piece is empty while a character is incomplete. */
export type PieceDecoder = Pick<StreamDecoder, "push" | "flush">;

export interface AnswerTextOptions {
  readonly decoder: PieceDecoder;
  /** Their text is not part of the answer, and they are not released. */
  readonly stopTokens: readonly number[];
  readonly stops: readonly string[];
}

export interface TextPiece {
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  /** The stop string that has ended the answer. */
  readonly stop: string | undefined;
}

export class AnswerText {
  readonly #decoder: PieceDecoder;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #stops: StopBuffer;
  #completionTokens = 0;
  /** In UTF-16 units since the answer began. */
  #decoded = 0;
  #released = 0;
  /** Tokens whose text is not released yet, with where it begins and ends. */
  #waiting: { readonly token: GeneratedToken; readonly begin: number; readonly end: number }[] = [];

  constructor(options: AnswerTextOptions) {
    this.#decoder = options.decoder;
    this.#stopTokens = new Set(options.stopTokens);
    this.#stops = new StopBuffer(options.stops);
  }

  /** Tokens of the answer so far, the one that ended it included. */
  get completionTokens(): number { return this.#completionTokens; }

  /** @returns what is certain now. */
  push(tokens: readonly GeneratedToken[]): TextPiece {
    let text = "";
    for (const token of tokens) {
      this.#completionTokens += 1;
      if (this.#stopTokens.has(token.token)) continue;
      const decoded = this.#decoder.push(token.token);
      this.#waiting.push({ token, begin: this.#decoded, end: this.#decoded + decoded.length });
      this.#decoded += decoded.length;
      const released = this.#stops.push(decoded);
      text += released.text;
      if (released.stopped) return this.#release(text, released.stop);
    }
    return this.#release(text, undefined);
  }

  /** After the last token: what was held back. */
  end(): TextPiece {
    const last = this.#stops.push(this.#decoder.flush());
    return last.stopped ? this.#release(last.text, last.stop) : this.#release(last.text + this.#stops.flush(), undefined, true);
  }

  #release(text: string, stop: string | undefined, all = false): TextPiece {
    const stopped = stop !== undefined;
    this.#released += text.length;
    // A token that a stop string cuts in two has part of its text in the answer.
    const certain = this.#waiting.filter(({ begin, end }) => all || end <= this.#released || (stopped && begin < this.#released));
    this.#waiting = stopped || all ? [] : this.#waiting.slice(certain.length);
    return { text, tokens: certain.map(({ token }) => token), stop };
  }
}
