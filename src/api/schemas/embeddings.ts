/** `POST /v1/embeddings`, OpenAI's. */
import { z } from "zod";
import { limits } from "../options.js";

const tokens = z.array(z.int().min(0)).min(1).max(limits.promptTokens);

export const embeddingsRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  /** A text, several, one in tokens, several in tokens. */
  input: z.union([
    z.string().min(1),
    tokens,
    z.array(z.string().min(1)).min(1).max(limits.embeddingInputs),
    z.array(tokens).min(1).max(limits.embeddingInputs),
  ]),
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.int().min(1).nullish(),
  user: z.string().nullish(),
});

export type EmbeddingsRequest = z.output<typeof embeddingsRequestSchema>;
