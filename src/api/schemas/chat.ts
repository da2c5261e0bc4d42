/**
 * `POST /v1/chat/completions`. Unknown fields are refused by name, as OpenAI does (a misspelt `temprature` must not pass in
 * silence). Fields of OpenAI's that cannot change an answer here are accepted and have no effect; those that would are refused.
 */
import { z } from "zod";
import { limits } from "../options.js";
import { messagesSchema } from "./messages.js";
import { responseFormatSchema, structuredOutputsSchema } from "./response-format.js";
import { samplingFields, stopField } from "./sampling.js";
import { toolsFields } from "./tools.js";

const maxTokens = z.int().min(1).nullish();

/** For the provider's books or caches: no effect on the answer. */
const withoutEffect = {
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  store: z.boolean().nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_retention: z.string().nullish(),
  verbosity: z.string().nullish(),
  /** Text is the only modality there is. */
  modalities: z.array(z.literal("text")).nullish(),
  prediction: z.unknown().optional(),
} as const;

export const chatRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  messages: messagesSchema,
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() }).nullish(),
  max_tokens: maxTokens,
  max_completion_tokens: maxTokens,
  stop: stopField,
  n: z.int().min(1).max(limits.choices).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(limits.topLogprobs).nullish(),
  ...toolsFields,
  response_format: responseFormatSchema.nullish(),
  structured_outputs: structuredOutputsSchema.nullish(),
  /** `flex` waits behind the requests of other tiers. */
  service_tier: z.string().nullish(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish(),
  /** As vLLM has it: variables of the chat template, `enable_thinking`. */
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
  ...samplingFields,
  ...withoutEffect,
});

export type ChatRequest = z.output<typeof chatRequestSchema>;
