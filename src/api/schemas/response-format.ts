/** `response_format`, OpenAI's; and `structured_outputs`, vLLM's way to ask for what OpenAI has no word for. */
import { z } from "zod";

export const responseFormatSchema = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({
      name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/u, "a name is 1 to 64 letters, digits, underscores and dashes"),
      description: z.string().nullish(),
      schema: z.record(z.string(), z.unknown()),
      strict: z.boolean().nullish(),
    }),
  }),
]);

export type ResponseFormat = z.output<typeof responseFormatSchema>;

const choiceMax = 1_000;

export const structuredOutputsSchema = z.strictObject({
  json: z.union([z.record(z.string(), z.unknown()), z.boolean()]).optional(),
  regex: z.string().min(1).max(4_096).optional(),
  choice: z.array(z.string().min(1)).min(1).max(choiceMax).optional(),
  /** EBNF, src/model/grammar/ebnf.ts says which. */
  grammar: z.string().min(1).optional(),
}).refine((value) => Object.values(value).filter((each) => each !== undefined).length === 1, "it has exactly one of 'json', 'regex', 'choice' and 'grammar'");

export type StructuredOutputs = z.output<typeof structuredOutputsSchema>;
