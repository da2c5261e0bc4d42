/**
 * A vocabulary in the order of its tokens' bytes, so that what neighbours share is walked once and whole families are passed over.
 * Special tokens and ids without a token have no bytes: a grammar never allows them.
 */
import { type Automaton, dead } from "./automaton.js";

/** What is asked of a tokenizer. */
export interface TokenSource {
  readonly vocabSize: number;
  tokenBytes(token: number): Uint8Array;
  isSpecial(token: number): boolean;
}

export class TokenList {
  readonly #ids: Int32Array;
  readonly #bytes: readonly Uint8Array[];
  /** Bytes that a token has in common with the one before it. */
  readonly #shared: Int32Array;
  readonly longest: number;

  /** @param special tokens that count as their text all the same */
  constructor(source: TokenSource, special: ReadonlySet<number> = new Set()) {
    const tokens: { readonly id: number; readonly bytes: Uint8Array }[] = [];
    for (let id = 0; id < source.vocabSize; id += 1) {
      if (source.isSpecial(id) && !special.has(id)) continue;
      const bytes = source.tokenBytes(id);
      if (bytes.length > 0) tokens.push({ id, bytes });
    }
    tokens.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    this.#ids = Int32Array.from(tokens, ({ id }) => id);
    this.#bytes = tokens.map(({ bytes }) => bytes);
    this.#shared = Int32Array.from(tokens, ({ bytes }, index) => index === 0 ? 0 : sharedPrefix(tokens[index - 1]!.bytes, bytes));
    this.longest = this.#bytes.reduce((longest, bytes) => Math.max(longest, bytes.length), 0);
  }

  /** Sets the bits of the tokens whose bytes the automaton takes from `state` on: bit `id % 32` of word `id / 32`. */
  allow(automaton: Automaton, state: number, mask: Int32Array): void {
    const states = [state];
    /** Length of the prefix that led to death: tokens that share it need not be tried. */
    let deadEnd = Infinity;
    for (let index = 0; index < this.#ids.length; index += 1) {
      const shared = this.#shared[index]!;
      if (shared >= deadEnd) continue;
      deadEnd = Infinity;
      const bytes = this.#bytes[index]!;
      let at = states[shared]!;
      for (let depth = shared; depth < bytes.length; depth += 1) {
        at = automaton.step(at, bytes[depth]!);
        if (at === dead) { deadEnd = depth + 1; break; }
        states[depth + 1] = at;
      }
      if (at === dead) continue;
      const id = this.#ids[index]!;
      mask[id >>> 5]! |= 1 << (id & 31);
    }
  }
}

function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return length;
}
