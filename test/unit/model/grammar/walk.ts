/** Lets chance be the model: texts of a grammar, token by token, as a sampler would make them. */
import { fileURLToPath } from "node:url";
import type { Expr } from "../../../../src/model/grammar/expr.js";
import { CompiledGrammar, GrammarMatcher } from "../../../../src/model/grammar/matcher.js";
import { TokenList } from "../../../../src/model/grammar/token-list.js";
import { openTokenizer, type Tokenizer } from "../../../../src/model/tokenizer.js";

export const stop = 2;

export async function vocabulary(): Promise<{ readonly tokenizer: Tokenizer; readonly tokens: TokenList }> {
  const tokenizer = await openTokenizer(fileURLToPath(new URL("../../../../models/SmolLM2-135M-Instruct-8bit", import.meta.url)));
  return { tokenizer, tokens: new TokenList(tokenizer) };
}

export const compiled = (root: Expr, { tokenizer, tokens }: { readonly tokenizer: Tokenizer; readonly tokens: TokenList }): CompiledGrammar =>
  new CompiledGrammar(root, tokenizer, tokens, [stop], tokenizer.vocabSize);

export function allowed(mask: Int32Array): number[] {
  const ids: number[] = [];
  for (let word = 0; word < mask.length; word += 1) for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) ids.push(word * 32 + 31 - Math.clz32(bits & -bits));
  return ids;
}

/** @returns the tokens of a text that ended, or undefined when it did not within `tokensMax`. */
export function walk(grammar: CompiledGrammar, random: () => number, ends: ReadonlySet<number>, tokensMax: number): number[] | undefined {
  const matcher = new GrammarMatcher(grammar);
  const answer: number[] = [];
  while (answer.length < tokensMax) {
    const ids = allowed(matcher.allowedAfter(answer));
    // Chance alone would hardly ever close a string.
    const ending = random() < 0.5 ? ids.filter((id) => id === stop || ends.has(id)) : [];
    const from = ending.length > 0 ? ending : ids;
    const token = from[Math.floor(random() * from.length)]!;
    if (token === stop) return answer;
    answer.push(token);
  }
  return undefined;
}
