/** `POST /tokenize` and `/detokenize`, as vLLM has them. */
import { z } from "zod";
import { limits } from "../options.js";
import { messagesSchema } from "./messages.js";

export const tokenizeRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  prompt: z.string().nullish(),
  messages: messagesSchema.nullish(),
  add_special_tokens: z.boolean().nullish(),
  add_generation_prompt: z.boolean().nullish(),
  return_token_strs: z.boolean().nullish(),
});

export const detokenizeRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  tokens: z.array(z.int().min(0)).max(limits.promptTokens),
});
