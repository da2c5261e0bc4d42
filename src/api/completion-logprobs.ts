/** Log probabilities in the older endpoint's shape: four lists side by side. */
import type { GeneratedToken } from "../daemon/inference/generate.js";
import type { Tokenizer } from "../model/tokenizer.js";
import { finite } from "./logprobs.js";

/** @param offset of the first token in the choice's text, in characters */
export function completionLogprobs(tokenizer: Tokenizer, tokens: readonly GeneratedToken[], offset: number) {
  const texts = tokens.map(({ token }) => tokenizer.tokenText(token));
  let at = offset;
  const offsets = texts.map((text) => { const here = at; at += text.length; return here; });
  return {
    tokens: texts,
    token_logprobs: tokens.map(({ logprobs }) => finite(logprobs?.logprob ?? -Infinity)),
    top_logprobs: tokens.map(({ logprobs }) => Object.fromEntries((logprobs?.top ?? []).map((other) => [tokenizer.tokenText(other.token), finite(other.logprob)]))),
    text_offset: offsets,
  };
}
