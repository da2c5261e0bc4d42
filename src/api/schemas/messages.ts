/**
 * A conversation in OpenAI's shape. Messages are open to fields this server does not know, because clients send back what
 * other servers answered (`refusal`, `annotations`, `audio`, …); the request around them is not.
 */
import { z } from "zod";
import { limits } from "../options.js";

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const otherPart = z.looseObject({ type: z.literal(["image_url", "input_audio", "file", "input_image", "input_file", "video_url"]) })
  .refine(() => false, { path: ["type"], message: "this model reads text only: images, sound and files are not supported.", params: { code: "unsupported_parameter" } });
const textParts = z.array(z.discriminatedUnion("type", [textPart, otherPart])).min(1);
const text = z.union([z.string(), textParts]);

const toolCall = z.looseObject({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.looseObject({ name: z.string().min(1), arguments: z.string() }),
});

export const messageSchema = z.discriminatedUnion("role", [
  z.looseObject({ role: z.literal(["system", "developer"]), content: text }),
  z.looseObject({ role: z.literal("user"), content: text }),
  z.looseObject({ role: z.literal("assistant"), content: text.nullish(), tool_calls: z.array(toolCall).nullish() }),
  z.looseObject({ role: z.literal("tool"), content: text, tool_call_id: z.string().min(1) }),
]);

export const messagesSchema = z.array(messageSchema).min(1).max(limits.messages);

export type Message = z.output<typeof messageSchema>;
