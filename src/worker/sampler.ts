/**
 * The next token as a pure function of (logits, parameters, seed, position, history): no state is carried from token to token,
 * so that any worker can continue any sequence at any position, with the same result.
 *
 * Order: grammar mask, logit bias, repetition penalty (prompt and answer), frequency and presence penalty (answer only),
 * then greedy, or temperature → top_k → top_p → min_p → one draw. Equal logits rank by lower token id.
 * Logprobs are those of the model itself: log-softmax of the raw logits, before anything else, as OpenAI reports them.
 * The class holds only scratch memory. It knows nothing of slots, stop tokens or text.
 */
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import type { TokenLogprob } from "../core/worker-protocol.js";
import { uniform } from "./random.js";
import type { SamplingParams } from "./sampling-params.js";
import { type Cut, allFinite, blockSize, cutWithin, expNegative, indexAtWeight, indexOfLargest, keepAll, keyIndex, largestKeys, nucleusCut, vocabularyMax, weightSums } from "./vocabulary-math.js";

export interface SamplerInput {
  /** [vocabSize]; not changed. */
  readonly logits: Float32Array;
  readonly params: SamplingParams;
  /** The place in its sequence of the token to be sampled. */
  readonly position: number;
  /** The tokens before it, prompt and answer: `position` of them. */
  readonly history: Int32Array;
  /** How many of `history` are the prompt. */
  readonly promptLength: number;
  /** Tokens that a grammar allows: bit `id % 32` of word `id / 32`. */
  readonly allowed?: Int32Array;
}

export interface SampledToken {
  readonly token: number;
  readonly logprob: number;
  readonly top: readonly TokenLogprob[];
}

export class Sampler {
  readonly #adjusted: Float32Array;
  readonly #counts: Int32Array;
  readonly #sums: Float64Array;
  readonly #keys: Float64Array;

  constructor(vocabSize: number) {
    if (vocabSize > vocabularyMax) throw new MinidError("model_unsupported", `a vocabulary of ${vocabSize} tokens is larger than ${vocabularyMax}`);
    this.#adjusted = new Float32Array(vocabSize);
    this.#counts = new Int32Array(vocabSize);
    this.#sums = new Float64Array(Math.ceil(vocabSize / blockSize));
    this.#keys = new Float64Array(vocabSize);
  }

  /** @throws MinidError output_not_finite when a logit is NaN or infinite, invalid_value when the grammar allows no token. */
  sample(input: SamplerInput): SampledToken {
    const { logits, params } = input;
    invariant(logits.length === this.#adjusted.length, "logits do not have the vocabulary's length");
    if (!allFinite(logits)) throw new MinidError("output_not_finite", "the head computed a logit that is not a finite number");
    const adjusted = this.#adjust(input);
    const likeliest = indexOfLargest(logits);
    const best = adjusted === logits ? likeliest : indexOfLargest(adjusted);
    if (best < 0) throw new MinidError("invalid_value", "the grammar allows no token here");
    const token = params.temperature === 0 ? best : this.#draw(adjusted, adjusted[best] ?? 0, params, uniform(params.seed, input.position));
    return { token, ...this.#logprobs(logits, logits[likeliest] ?? 0, token, params.topLogprobs) };
  }

  #adjust({ logits, params, history, promptLength, allowed }: SamplerInput): Float32Array {
    const { repetitionPenalty, frequencyPenalty, presencePenalty, biasTokens, biasValues } = params;
    const penalties = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    if (allowed === undefined && !penalties && biasTokens.length === 0) return logits;
    const adjusted = this.#adjusted;
    adjusted.set(logits);
    for (let i = 0; i < biasTokens.length; i += 1) {
      const token = biasTokens[i] ?? 0;
      adjusted[token] = (adjusted[token] ?? 0) + (biasValues[i] ?? 0);
    }
    if (penalties) {
      // A token's first visit has no mark yet; after it, -1 stands for "in the prompt only" and n for n times in the answer.
      const counts = this.#counts;
      for (let i = 0; i < history.length; i += 1) {
        const token = history[i] ?? 0;
        const before = counts[token] ?? 0;
        counts[token] = i < promptLength ? -1 : Math.max(before, 0) + 1;
      }
      for (const token of history) {
        const count = counts[token] ?? 0;
        if (count === 0) continue;
        counts[token] = 0;
        let value = adjusted[token] ?? 0;
        value = value > 0 ? value / repetitionPenalty : value * repetitionPenalty;
        if (count > 0) value -= count * frequencyPenalty + presencePenalty;
        adjusted[token] = value;
      }
    }
    if (allowed) {
      for (let i = 0; i < adjusted.length; i += 1) {
        if ((((allowed[i >>> 5] ?? 0) >>> (i & 31)) & 1) === 0) adjusted[i] = Number.NEGATIVE_INFINITY;
      }
    }
    return adjusted;
  }

  /** Walks the tokens that the cut keeps in order of their ids, up to the share `u` of their weight. */
  #draw(values: Float32Array, max: number, params: SamplingParams, u: number): number {
    const scale = 1 / params.temperature;
    const cut = this.#cut(values, max, scale, params);
    const total = weightSums(values, max, scale, cut, this.#sums);
    return indexAtWeight(values, max, scale, cut, this.#sums, u * total);
  }

  /** top_p is a share of what top_k leaves; min_p is relative to the best token, so its place in the order does not matter. */
  #cut(values: Float32Array, max: number, scale: number, { topK, topP, minP }: SamplingParams): Cut {
    let cut = keepAll;
    if (topK > 0 && topK < values.length) {
      const ranked = largestKeys(values, topK);
      let goal = Number.POSITIVE_INFINITY;
      if (topP < 1) goal = topP * ranked.reduce((sum, key) => sum + expNegative(((values[keyIndex(key)] ?? 0) - max) * scale), 0);
      cut = cutWithin(values, ranked, max, scale, goal);
    } else if (topP < 1) cut = nucleusCut(values, max, scale, topP, this.#keys);
    const least = minP > 0 ? Math.min(max, max + Math.log(minP) / scale) : Number.NEGATIVE_INFINITY;
    return least > cut.value ? { value: least, index: Number.POSITIVE_INFINITY } : cut;
  }

  #logprobs(logits: Float32Array, max: number, token: number, topLogprobs: number | undefined): { readonly logprob: number; readonly top: readonly TokenLogprob[] } {
    if (topLogprobs === undefined) return { logprob: 0, top: [] };
    const normalizer = max + Math.log(weightSums(logits, max, 1, keepAll, this.#sums));
    const top = topLogprobs === 0 ? [] : Array.from(largestKeys(logits, Math.min(topLogprobs, logits.length)), (key) => {
      const id = keyIndex(key);
      return { token: id, logprob: (logits[id] ?? 0) - normalizer };
    });
    return { logprob: (logits[token] ?? 0) - normalizer, top };
  }
}
