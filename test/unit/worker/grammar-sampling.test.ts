import { describe, expect, it } from "vitest";
import { type CacheOp, greedySampling } from "../../../src/core/worker-protocol.js";
import { type GrammarPart, grammarExpr } from "../../../src/model/grammar/grammar.js";
import { CompiledGrammar, GrammarMatcher } from "../../../src/model/grammar/matcher.js";
import { TokenList } from "../../../src/model/grammar/token-list.js";
import { StageRunner } from "../../../src/worker/stage-runner.js";
import { ToyStage, toyHiddenSize, toyVocabSize } from "./toy-stage.js";

/** Token n is the letter with that number; token 0 ends the answer. */
const vocabulary = { vocabSize: toyVocabSize, tokenBytes: (token: number) => Uint8Array.of(0x60 + token), isSpecial: (token: number) => token === 0 };
const part: GrammarPart = { kind: "regex", pattern: "(ab|ac)b?" };
const compiled = () => new CompiledGrammar(grammarExpr(part), vocabulary, new TokenList(vocabulary), [0], toyVocabSize);

function runner() {
  const grammar = compiled();
  const grammars = { matcher: (text: string | undefined) => text === "letters" ? new GrammarMatcher(grammar) : undefined };
  return new StageRunner({ stage: new ToyStage(), limits: { slots: 4, contextMax: 32, hiddenSize: toyHiddenSize, vocabSize: toyVocabSize, ownsText: true }, layers: { first: 0, end: 1 }, onProgress: () => {}, grammars });
}

const open = (history: readonly number[], promptLength: number, temperature: number, seed: number): CacheOp =>
  ({ op: "open", open: { slot: 0, sampling: { ...greedySampling, temperature, seed, grammar: "letters" }, history, promptLength } });

/** The answer to a prompt, token by token; with what is known of it already it is a resumed one. */
function answer(seed: number, known: readonly number[] = []): number[] {
  const run = runner();
  const prompt = [3, 1];
  const tokens = [...prompt, ...known];
  let [sampled] = run.whole([open(tokens, prompt.length, 1.5, seed)], [{ slot: 0, position: 0, rows: tokens.length, tokens, sample: true }]);
  while (sampled && sampled.token !== 0 && tokens.length < 20) {
    tokens.push(sampled.token);
    [sampled] = run.whole([], [{ slot: 0, position: tokens.length - 1, rows: 1, tokens: [sampled.token], sample: true }]);
  }
  return tokens.slice(prompt.length);
}

describe("sampling under a grammar", () => {
  it("gives only answers of the grammar, and ends them where it must", () => {
    const texts = Array.from({ length: 40 }, (_, seed) => answer(seed).map((token) => String.fromCharCode(0x60 + token)).join(""));
    expect(texts.filter((text) => !/^(ab|ac)b?$/u.test(text))).toEqual([]);
    expect(new Set(texts).size).toBeGreaterThan(1);
  });

  it("goes on alike when the answer is resumed from any of its tokens", () => {
    for (let seed = 0; seed < 10; seed += 1) {
      const whole = answer(seed);
      for (let known = 0; known < whole.length; known += 1) expect(answer(seed, whole.slice(0, known))).toEqual(whole);
    }
  });
});
