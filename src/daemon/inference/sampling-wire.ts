/** Sampling parameters to and from their wire form. Floats are single precision there, on every path, so that a resumed answer samples alike. */
import { type Sampling, topLogprobsMax } from "../../core/worker-protocol.js";
import { MinidError } from "../../core/errors.js";
import type { SamplingParams } from "./generate.js";

export function samplingToWire(params: SamplingParams): Sampling {
  return {
    temperature: params.temperature,
    topK: params.topK,
    topP: params.topP,
    minP: params.minP,
    repetitionPenalty: params.repetitionPenalty,
    frequencyPenalty: params.frequencyPenalty,
    presencePenalty: params.presencePenalty,
    logitBias: Object.fromEntries(params.logitBias),
    seed: params.seed,
    topLogprobs: params.topLogprobs ?? 0,
    logprobs: params.topLogprobs !== undefined,
    ...(params.grammar === undefined ? {} : { grammar: params.grammar }),
  };
}

/** @throws MinidError invalid_value for what no front door of ours sends. */
export function samplingFromWire(sampling: Sampling): SamplingParams {
  if (!Number.isSafeInteger(sampling.seed)) throw new MinidError("invalid_value", `seed is ${sampling.seed}: it must be an integer below 2^53.`, { param: "seed" });
  if (sampling.topLogprobs > topLogprobsMax) throw new MinidError("invalid_value", `top_logprobs is ${sampling.topLogprobs}: at most ${topLogprobsMax} are reported.`, { param: "top_logprobs" });
  return {
    temperature: sampling.temperature,
    topK: sampling.topK,
    topP: sampling.topP,
    minP: sampling.minP,
    repetitionPenalty: sampling.repetitionPenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    presencePenalty: sampling.presencePenalty,
    logitBias: new Map(Object.entries(sampling.logitBias).map(([token, bias]) => [Number(token), bias])),
    seed: sampling.seed,
    ...(sampling.logprobs ? { topLogprobs: sampling.topLogprobs } : {}),
    ...(sampling.grammar === undefined || sampling.grammar === "" ? {} : { grammar: sampling.grammar }),
  };
}
