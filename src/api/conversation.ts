/** OpenAI's messages as a chat template takes them. Pure. */
import type { ChatMessage } from "../model/chat-template.js";
import type { Message } from "./schemas/messages.js";

/** Several text parts become one text, a line each, as vLLM does. `developer` is OpenAI's newer word for `system`. */
export function templateMessages(messages: readonly Message[]): ChatMessage[] {
  return messages.map((message): ChatMessage => {
    const role = message.role === "developer" ? "system" : message.role;
    return { role, content: joinParts(message.content) };
  });
}

export function joinParts(content: Message["content"]): string {
  if (content === null || content === undefined) return "";
  return typeof content === "string" ? content : content.flatMap((part) => part.type === "text" ? [part.text] : []).join("\n");
}
