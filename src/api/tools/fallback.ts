/**
 * Tools for models whose template knows none: the Hermes convention (https://github.com/NousResearch/Hermes-Function-Calling) written
 * into ordinary messages, as Qwen's template words it.
 */
import type { ChatMessage } from "../../model/chat-template.js";
import type { Tool } from "../schemas/tools.js";

export function withToolPrompt(messages: readonly ChatMessage[], tools: readonly Tool[]): ChatMessage[] {
  const plain = messages.map(withoutToolFields);
  const merged = mergeToolResponses(plain);
  if (tools.length === 0) return merged;
  const [first, ...rest] = merged;
  const own = first?.role === "system" ? [first.content as string] : [];
  const system = { role: "system", content: [...own, toolPrompt(tools)].join("\n\n") };
  return [system, ...(first?.role === "system" ? rest : merged)];
}

function toolPrompt(tools: readonly Tool[]): string {
  return `# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
${tools.map((tool) => JSON.stringify(tool)).join("\n")}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>`;
}

/** A call becomes the text the model would have written, a result a message of the user's. */
function withoutToolFields(message: ChatMessage): ChatMessage {
  const content = typeof message.content === "string" ? message.content : "";
  if (message.role === "tool") return { role: "user", content: `<tool_response>\n${content}\n</tool_response>` };
  const calls = Array.isArray(message["tool_calls"]) ? message["tool_calls"] as { readonly function: { readonly name: string; readonly arguments: string } }[] : [];
  const written = calls.map((call) => `<tool_call>\n{"name": ${JSON.stringify(call.function.name)}, "arguments": ${call.function.arguments}}\n</tool_call>`);
  return { role: message.role, content: [...(content === "" ? [] : [content]), ...written].join("\n") };
}

/** Several results in a row are one message: many templates insist on turns. */
function mergeToolResponses(messages: readonly ChatMessage[]): ChatMessage[] {
  const merged: ChatMessage[] = [];
  for (const message of messages) {
    const last = merged.at(-1);
    const isResponse = (each: ChatMessage | undefined) => each?.role === "user" && typeof each.content === "string" && each.content.startsWith("<tool_response>");
    if (last && isResponse(last) && isResponse(message)) merged[merged.length - 1] = { role: "user", content: `${last.content as string}\n${message.content as string}` };
    else merged.push(message);
  }
  return merged;
}
