/** `POST /v1/completions`, OpenAI's older endpoint: text goes on, without a conversation. */
import { z } from "zod";
import { limits } from "../options.js";
import { responseFormatSchema, structuredOutputsSchema } from "./response-format.js";
import { samplingFields, stopField } from "./sampling.js";

const tokens = z.array(z.int().min(0)).min(1).max(limits.promptTokens);

/** A text, several, one in tokens, several in tokens. */
const promptSchema = z.union([
  z.string(),
  tokens,
  z.array(z.string()).min(1).max(limits.prompts),
  z.array(tokens).min(1).max(limits.prompts),
]);

export const completionRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  prompt: promptSchema,
  max_tokens: z.int().min(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() }).nullish(),
  n: z.int().min(1).max(limits.choices).nullish(),
  best_of: z.int().min(1).max(limits.choices).nullish(),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(limits.completionLogprobs).nullish(),
  stop: stopField,
  suffix: z.null({ error: "text between a beginning and an end is not supported." }).nullish(),
  user: z.string().nullish(),
  response_format: responseFormatSchema.nullish(),
  structured_outputs: structuredOutputsSchema.nullish(),
  ...samplingFields,
});

export type CompletionRequest = z.output<typeof completionRequestSchema>;
