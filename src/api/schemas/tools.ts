/** Function tools, in OpenAI's shape. */
import { z } from "zod";
import { limits } from "../options.js";

export const toolName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/u, "a tool's name is 1 to 64 letters, digits, underscores and dashes");

export const toolSchema = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: toolName,
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

export type Tool = z.output<typeof toolSchema>;

export const toolChoiceSchema = z.union([
  z.enum(["none", "auto", "required"]),
  z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: toolName }) }),
]);

export type ToolChoice = z.output<typeof toolChoiceSchema>;

export const toolsFields = {
  tools: z.array(toolSchema).max(limits.tools).nullish(),
  tool_choice: toolChoiceSchema.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
} as const;
