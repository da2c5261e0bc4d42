/** The sampling fields of a request, validated, as what the scheduler takes. Pure. */
import { MinidError } from "../core/errors.js";
import type { SamplingParams } from "../daemon/inference/generate.js";
import type { GenerationDefaults } from "../model/assistant.js";
import type { SamplingFields } from "./schemas/sampling.js";

/** OpenAI accepts top_p 0 and means the likeliest token: the smallest mass that no token falls short of. */
const topPMin = 1e-9;

export interface ModelSampling {
  readonly vocabSize: number;
  /** What the model's authors recommend; the request's own values win, OpenAI's defaults come last. */
  readonly defaults: GenerationDefaults;
}

/**
 * @param randomSeed used when the request names none
 * @throws MinidError invalid_value when a biased token is not of the vocabulary
 */
export function samplingParams(fields: SamplingFields, { vocabSize, defaults }: ModelSampling, randomSeed: number): SamplingParams {
  return {
    temperature: fields.temperature ?? defaults.temperature ?? 1,
    topK: Math.max(0, fields.top_k ?? defaults.topK ?? 0),
    topP: Math.max(topPMin, fields.top_p ?? defaults.topP ?? 1),
    minP: fields.min_p ?? defaults.minP ?? 0,
    repetitionPenalty: fields.repetition_penalty ?? defaults.repetitionPenalty ?? 1,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    presencePenalty: fields.presence_penalty ?? 0,
    logitBias: logitBias(fields.logit_bias ?? {}, vocabSize),
    seed: seedWithin(fields.seed ?? randomSeed),
  };
}

function logitBias(entries: Readonly<Record<string, number>>, vocabSize: number): ReadonlyMap<number, number> {
  const bias = new Map<number, number>();
  for (const [key, value] of Object.entries(entries)) {
    const token = Number(key);
    if (token >= vocabSize) throw new MinidError("invalid_value", `Invalid key in 'logit_bias': ${key} is not a token of this model, whose vocabulary has ${vocabSize}.`, { param: `logit_bias.${key}` });
    bias.set(token, value);
  }
  return bias;
}

/** Any integer, 64-bit and negative ones too, as one of [0, 2^53): the same seed always becomes the same. */
export function seedWithin(seed: number): number {
  const range = 2 ** 53;
  const rest = seed % range;
  return rest < 0 ? rest + range : rest;
}

export const stopStrings = (stop: string | readonly string[] | null | undefined): readonly string[] =>
  typeof stop === "string" ? [stop] : stop ?? [];
