/** Log probabilities of an answer's tokens, in the chat API's shape. */
import type { GeneratedToken } from "../daemon/inference/generate.js";
import type { Tokenizer } from "../model/tokenizer.js";

/** JSON has no infinity; OpenAI writes this for tokens that cannot be. */
const impossible = -9999;

export interface TokenLogprobObject {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface ChatLogprobs {
  readonly content: readonly (TokenLogprobObject & { readonly top_logprobs: readonly TokenLogprobObject[] })[];
  readonly refusal: null;
}

export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly GeneratedToken[]): ChatLogprobs {
  return {
    content: tokens.map(({ token, logprobs }) => ({
      ...tokenObject(tokenizer, token, logprobs?.logprob ?? impossible),
      top_logprobs: (logprobs?.top ?? []).map((other) => tokenObject(tokenizer, other.token, other.logprob)),
    })),
    refusal: null,
  };
}

const tokenObject = (tokenizer: Tokenizer, token: number, logprob: number): TokenLogprobObject =>
  ({ token: tokenizer.tokenText(token), logprob: finite(logprob), bytes: [...tokenizer.tokenBytes(token)] });

export const finite = (logprob: number): number => Number.isFinite(logprob) ? logprob : impossible;
