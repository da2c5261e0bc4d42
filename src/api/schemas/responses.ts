/** `POST /v1/responses`, OpenAI's newer endpoint. What needs a provider's own services (web search, files, background work) is refused. */
import { z } from "zod";
import { limits } from "../options.js";
import { toolName } from "./tools.js";

const textPart = z.looseObject({ type: z.literal(["input_text", "output_text", "text"]), text: z.string() });
const otherPart = z.looseObject({ type: z.literal(["input_image", "input_file", "input_audio", "image_url"]) })
  .refine(() => false, { path: ["type"], message: "this model reads text only: images, sound and files are not supported.", params: { code: "unsupported_parameter" } });
const refusalPart = z.looseObject({ type: z.literal("refusal"), refusal: z.string() });
const content = z.union([z.string(), z.array(z.discriminatedUnion("type", [textPart, refusalPart, otherPart]))]);

const messageItem = z.looseObject({ type: z.literal("message"), role: z.enum(["user", "assistant", "system", "developer"]), content });
const callItem = z.looseObject({ type: z.literal("function_call"), call_id: z.string().min(1), name: z.string().min(1), arguments: z.string() });
const outputItem = z.looseObject({ type: z.literal("function_call_output"), call_id: z.string().min(1), output: content });
const reasoningItem = z.looseObject({ type: z.literal("reasoning"), content: z.array(z.looseObject({ text: z.string() })).nullish() });

/** An item without a type is a message. */
export const inputItemSchema = z.preprocess(
  (item) => typeof item === "object" && item !== null && !Array.isArray(item) && !("type" in item) ? { type: "message", ...item } : item,
  z.discriminatedUnion("type", [callItem, outputItem, reasoningItem, messageItem]),
);
export type InputItem = z.output<typeof inputItemSchema>;

const formatSchema = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({ type: z.literal("json_schema"), name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/u), schema: z.record(z.string(), z.unknown()), strict: z.boolean().nullish(), description: z.string().nullish() }),
]);

const toolSchema = z.looseObject({
  type: z.literal("function"),
  name: toolName,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

export const responsesRequestSchema = z.strictObject({
  model: z.string().min(1).max(limits.modelIdChars),
  input: z.union([z.string(), z.array(inputItemSchema).min(1).max(limits.messages)]),
  instructions: z.string().nullish(),
  previous_response_id: z.string().min(1).nullish(),
  max_output_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
  tools: z.array(toolSchema).max(limits.tools).nullish(),
  tool_choice: z.union([z.enum(["none", "auto", "required"]), z.looseObject({ type: z.literal("function"), name: toolName })]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z.looseObject({ format: formatSchema.nullish() }).nullish(),
  reasoning: z.looseObject({ effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish() }).nullish(),
  store: z.boolean().nullish(),
  background: z.literal(false, { error: "work in the background is not supported." }).nullish(),
  truncation: z.enum(["disabled", "auto"]).nullish(),
  service_tier: z.string().nullish(),
  // No effect on the answer.
  metadata: z.record(z.string(), z.unknown()).nullish(),
  user: z.string().nullish(),
  include: z.array(z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_retention: z.string().nullish(),
  max_tool_calls: z.int().min(1).nullish(),
});

export type ResponsesRequest = z.output<typeof responsesRequestSchema>;
