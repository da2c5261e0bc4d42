/**
 * Which tokens a grammar allows after the tokens of an answer so far. The state is a function of those tokens alone: a matcher
 * that is asked about an answer it has not followed reads it from the beginning, so a resumed answer goes on as it would have.
 */
import { Automaton, dead } from "./automaton.js";
import type { Expr } from "./expr.js";
import type { TokenList, TokenSource } from "./token-list.js";

/** Masks kept: each is an eighth of the vocabulary's size in bytes. */
const masksMax = 512;

export class CompiledGrammar {
  readonly automaton: Automaton;
  readonly #source: TokenSource;
  readonly #tokens: TokenList;
  readonly #stopTokens: readonly number[];
  readonly #maskWords: number;
  readonly #masks = new Map<number, Int32Array>();
  #generation: number;

  /** @param logitCount the model's vocabulary, which may be padded beyond the tokenizer's */
  constructor(root: Expr, source: TokenSource, tokens: TokenList, stopTokens: readonly number[], logitCount: number) {
    this.automaton = new Automaton(root, tokens.longest);
    this.#source = source;
    this.#tokens = tokens;
    this.#stopTokens = stopTokens;
    this.#maskWords = Math.ceil(logitCount / 32);
    this.#generation = this.automaton.generation;
  }

  isStop(token: number): boolean { return this.#stopTokens.includes(token); }
  bytes(token: number): Uint8Array { return this.#source.tokenBytes(token); }

  /** Bit `id % 32` of word `id / 32`; not to be changed. Stop tokens are allowed where the text may end, and where nothing else is. */
  mask(state: number): Int32Array {
    if (this.#generation !== this.automaton.generation || this.#masks.size >= masksMax) this.#masks.clear();
    this.#generation = this.automaton.generation;
    const canonical = state === dead ? dead : this.automaton.canonical(state);
    let mask = this.#masks.get(canonical);
    if (!mask) {
      mask = new Int32Array(this.#maskWords);
      if (canonical !== dead) this.#tokens.allow(this.automaton, canonical, mask);
      if (this.automaton.exhausted) mask.fill(0);
      if (canonical === dead || this.automaton.accepts(canonical) || mask.every((word) => word === 0)) {
        for (const token of this.#stopTokens) mask[token >>> 5]! |= 1 << (token & 31);
      }
      this.#masks.set(canonical, mask);
    }
    return mask;
  }
}

export class GrammarMatcher {
  readonly #grammar: CompiledGrammar;
  #read: number[] = [];
  #state: number;
  #generation: number;

  constructor(grammar: CompiledGrammar) {
    this.#grammar = grammar;
    this.#state = grammar.automaton.start;
    this.#generation = grammar.automaton.generation;
  }

  /** @param answer the tokens of the answer so far. @returns which may come next. */
  allowedAfter(answer: ArrayLike<number>): Int32Array {
    const { automaton } = this.#grammar;
    automaton.makeRoom();
    if (this.#generation !== automaton.generation || !this.#follows(answer)) {
      this.#generation = automaton.generation;
      this.#state = automaton.start;
      this.#read = [];
    }
    for (let index = this.#read.length; index < answer.length; index += 1) {
      this.#state = this.#after(this.#state, answer[index]!);
      this.#read.push(answer[index]!);
    }
    return this.#grammar.mask(this.#state);
  }

  /** True when the answer may end here. */
  get complete(): boolean { return this.#state !== dead && this.#grammar.automaton.accepts(this.#state); }

  #follows(answer: ArrayLike<number>): boolean {
    if (this.#read.length > answer.length) return false;
    // Only the newest can differ, unless this is another answer altogether.
    for (let index = this.#read.length - 1; index >= 0; index -= 1) if (this.#read[index] !== answer[index]) return false;
    return true;
  }

  #after(state: number, token: number): number {
    if (this.#grammar.isStop(token)) return state;
    let at = state;
    for (const value of this.#grammar.bytes(token)) {
      if (at === dead) return dead;
      at = this.#grammar.automaton.step(at, value);
    }
    return at;
  }
}
