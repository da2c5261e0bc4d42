/** Sampling parameters as they arrive, checked once when a slot is opened, in the form that the sampler reads. */
import { MinidError } from "../core/errors.js";
import { type Sampling, topLogprobsMax } from "../core/worker-protocol.js";

export const logitBiasEntriesMax = 1_024;
const logitBiasMax = 1e6;

export interface SamplingParams {
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly biasTokens: Int32Array;
  readonly biasValues: Float64Array;
  readonly seed: number;
  /** Alternatives to report; undefined: no logprobs at all. */
  readonly topLogprobs: number | undefined;
}

type NumberField = Exclude<keyof Sampling, "logitBias" | "logprobs" | "grammar">;

/** @throws MinidError invalid_value naming the field, its value and the range. */
export function samplingParams(wire: Sampling, vocabSize: number): SamplingParams {
  const number = (name: NumberField, low: number, high: number): number => {
    const value = wire[name];
    if (!(value >= low && value <= high)) throw new MinidError("invalid_value", `sampling.${name} is ${value}: it must lie between ${low} and ${high}`, { param: name });
    return value;
  };
  const integer = (name: NumberField, high: number): number => {
    const value = number(name, 0, high);
    if (!Number.isInteger(value)) throw new MinidError("invalid_value", `sampling.${name} is ${value}: it must be an integer`, { param: name });
    return value;
  };
  const bias = Object.entries(wire.logitBias);
  if (bias.length > logitBiasEntriesMax) throw new MinidError("invalid_value", `sampling.logitBias has ${bias.length} entries: at most ${logitBiasEntriesMax} are taken`, { param: "logitBias" });
  for (const [token, value] of bias) {
    const id = Number(token);
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) throw new MinidError("invalid_value", `sampling.logitBias names token ${token}: the vocabulary has ${vocabSize}`, { param: "logitBias" });
    if (!(Math.abs(value) <= logitBiasMax)) throw new MinidError("invalid_value", `sampling.logitBias of token ${token} is ${value}: it must lie between -${logitBiasMax} and ${logitBiasMax}`, { param: "logitBias" });
  }
  return {
    temperature: number("temperature", 0, 1e6),
    topK: integer("topK", 0xffff_ffff),
    topP: number("topP", 0, 1),
    minP: number("minP", 0, 1),
    repetitionPenalty: number("repetitionPenalty", 1e-3, 1e3),
    frequencyPenalty: number("frequencyPenalty", -1e3, 1e3),
    presencePenalty: number("presencePenalty", -1e3, 1e3),
    biasTokens: Int32Array.from(bias, ([token]) => Number(token)),
    biasValues: Float64Array.from(bias, ([, value]) => value),
    seed: integer("seed", Number.MAX_SAFE_INTEGER),
    topLogprobs: wire.logprobs ? integer("topLogprobs", topLogprobsMax) : undefined,
  };
}
