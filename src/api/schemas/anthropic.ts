/** `POST /v1/messages` and `/v1/messages/count_tokens`, in Anthropic's shape. Blocks are open to fields that have no effect here (`cache_control`, `citations`). */
import { z } from "zod";
import { limits } from "../options.js";
import { toolName } from "./tools.js";

const textBlock = z.looseObject({ type: z.literal("text"), text: z.string() });
const otherBlock = z.looseObject({ type: z.literal(["image", "document", "search_result", "container_upload"]) })
  .refine(() => false, { path: ["type"], message: "this model reads text only: images and documents are not supported.", params: { code: "unsupported_parameter" } });

const toolUse = z.looseObject({ type: z.literal("tool_use"), id: z.string().min(1), name: z.string().min(1), input: z.record(z.string(), z.unknown()) });
const toolResult = z.looseObject({
  type: z.literal("tool_result"),
  tool_use_id: z.string().min(1),
  content: z.union([z.string(), z.array(z.discriminatedUnion("type", [textBlock, otherBlock]))]).nullish(),
  is_error: z.boolean().nullish(),
});
const thinking = z.looseObject({ type: z.literal("thinking"), thinking: z.string() });
const redacted = z.looseObject({ type: z.literal("redacted_thinking") });

const messageSchema = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("user"), content: z.union([z.string(), z.array(z.discriminatedUnion("type", [textBlock, toolResult, otherBlock])).min(1)]) }),
  z.strictObject({ role: z.literal("assistant"), content: z.union([z.string(), z.array(z.discriminatedUnion("type", [textBlock, toolUse, thinking, redacted])).min(1)]) }),
]);
export type AnthropicMessage = z.output<typeof messageSchema>;

const toolSchema = z.looseObject({
  name: toolName,
  type: z.literal("custom", { error: "only tools of your own are supported." }).nullish(),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()),
});

const parallel = { disable_parallel_tool_use: z.boolean().nullish() };
const toolChoice = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("auto"), ...parallel }),
  z.strictObject({ type: z.literal("any"), ...parallel }),
  z.strictObject({ type: z.literal("tool"), name: toolName, ...parallel }),
  z.strictObject({ type: z.literal("none") }),
]);

/** What decides the prompt. */
const conversation = {
  model: z.string().min(1).max(limits.modelIdChars),
  messages: z.array(messageSchema).min(1).max(limits.messages),
  system: z.union([z.string(), z.array(textBlock)]).nullish(),
  tools: z.array(toolSchema).max(limits.tools).nullish(),
  tool_choice: toolChoice.nullish(),
  thinking: z.looseObject({ type: z.enum(["enabled", "disabled", "adaptive"]) }).nullish(),
} as const;

export const countTokensSchema = z.strictObject({ ...conversation, cache_control: z.unknown().optional() });
export type CountTokensRequest = z.output<typeof countTokensSchema>;

export const messagesRequestSchema = z.strictObject({
  ...conversation,
  max_tokens: z.int().min(1),
  stream: z.boolean().nullish(),
  stop_sequences: z.array(z.string().min(1).max(limits.stopStringChars)).max(limits.stopSequences).nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  service_tier: z.string().nullish(),
  output_config: z.strictObject({
    effort: z.enum(["low", "medium", "high", "xhigh", "max"]).nullish(),
    format: z.strictObject({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }).nullish(),
  }).nullish(),
  cache_control: z.unknown().optional(),
});
export type MessagesRequest = z.output<typeof messagesRequestSchema>;
