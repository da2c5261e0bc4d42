/** OpenAI's messages as a chat template takes them. Pure. */
import { unreachable } from "../core/invariant.js";
import type { ChatMessage } from "../model/chat-template.js";
import type { Message } from "./schemas/messages.js";

/** Several text parts become one text, a line each, as vLLM does. `developer` is OpenAI's newer word for `system`. */
export function templateMessages(messages: readonly Message[]): ChatMessage[] {
  return messages.map((message): ChatMessage => {
    const content = joinParts(message.content);
    switch (message.role) {
      case "system": case "developer": return { role: "system", content };
      case "user": return { role: "user", content };
      case "assistant": {
        const reasoning = message["reasoning_content"];
        // Templates ask whether the field is there at all.
        const calls = message.tool_calls && message.tool_calls.length > 0 ? { tool_calls: message.tool_calls } : {};
        return { role: "assistant", content, ...calls, ...(typeof reasoning === "string" && { reasoning_content: reasoning }) };
      }
      case "tool": return { role: "tool", content, tool_call_id: message.tool_call_id, ...(typeof message["name"] === "string" && { name: message["name"] }) };
      default: return unreachable(message);
    }
  });
}

export function joinParts(content: Message["content"]): string {
  if (content === null || content === undefined) return "";
  return typeof content === "string" ? content : content.flatMap((part) => part.type === "text" ? [part.text] : []).join("\n");
}
