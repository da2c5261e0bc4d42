/** The sampling fields that every generating endpoint shares. `null` counts as absent, as OpenAI has it. */
import { z } from "zod";
import { limits } from "../options.js";

const stopString = z.string().min(1).max(limits.stopStringChars)
  .refine((text) => !/\p{Surrogate}/u.test(text), "it holds half of a UTF-16 surrogate pair");

/** Decimal and within int32: what a tokenizer's ids can be. */
const tokenId = z.string().regex(/^\d{1,9}$/u, "Keys are token ids in decimal.");

export const stopField = z.union([stopString, z.array(stopString).max(limits.stopStrings)]).nullish();

export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  /** Not OpenAI's: as vLLM and llama.cpp name them. 0 and -1 are off. */
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0.01).max(10).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z.record(tokenId, z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= limits.logitBiasEntries, `more than ${limits.logitBiasEntries} entries`).nullish(),
  seed: z.number().refine(Number.isInteger, "it is not an integer").nullish(),
  /** As vLLM has it: the model's end-of-turn tokens do not end the answer. For benchmarks. */
  ignore_eos: z.boolean().nullish(),
} as const;

export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;
