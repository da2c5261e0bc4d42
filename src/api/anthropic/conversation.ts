/** Anthropic's messages as a wish to be answered. Pure. */
import type { ChatMessage } from "../../model/chat-template.js";
import { MinidError } from "../../core/errors.js";
import type { Conversation } from "../chat-prompt.js";
import type { AnthropicMessage, CountTokensRequest, MessagesRequest } from "../schemas/anthropic.js";
import type { Tool, ToolChoice } from "../schemas/tools.js";
import type { WantedShape } from "../structured/wanted.js";

/** @throws MinidError invalid_value when the last message is the assistant's and holds more than text */
export function anthropicConversation(request: CountTokensRequest): Conversation {
  const beginning = beginningOf(request.messages);
  const messages = beginning === undefined ? request.messages : request.messages.slice(0, -1);
  const system = typeof request.system === "string" ? request.system : request.system?.map((block) => block.text).join("\n");
  const choice = request.tool_choice;
  return {
    messages: [...(system === undefined || system === "" ? [] : [{ role: "system", content: system }]), ...messages.flatMap(templateMessages)],
    tools: (request.tools ?? []).map((tool): Tool => ({ type: "function", function: { name: tool.name, ...(tool.description && { description: tool.description }), parameters: tool.input_schema } })),
    toolChoice: toolChoiceOf(choice),
    parallelCalls: !(choice && "disable_parallel_tool_use" in choice && choice.disable_parallel_tool_use === true),
    variables: { enable_thinking: request.thinking !== undefined && request.thinking !== null && request.thinking.type !== "disabled" },
    beginning,
  };
}

/** @throws MinidError unsupported_parameter for an answer that is begun and has a shape: the beginning is not checked against it */
export function anthropicShape({ output_config: config, messages }: MessagesRequest): WantedShape | undefined {
  const format = config?.format;
  if (!format) return undefined;
  const param = "output_config.format.schema";
  if (messages.at(-1)?.role === "assistant") throw new MinidError("unsupported_parameter", "Unsupported together: 'output_config.format' and an answer that 'messages' begins. Leave one of them out.", { param: "output_config.format" });
  return { part: { kind: "schema", schema: format.schema }, param, json: true };
}

/** An answer that the client has begun itself: the model goes on from there. */
function beginningOf(messages: readonly AnthropicMessage[]): string | undefined {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return undefined;
  if (typeof last.content === "string") return last.content;
  const at = `messages[${messages.length - 1}].content`;
  return last.content.map((block) => {
    if (block.type === "text") return block.text;
    throw new MinidError("invalid_value", `Invalid value for '${at}': an answer that the assistant is to go on with holds text only. Add the next user message.`, { param: at });
  }).join("");
}

function toolChoiceOf(choice: CountTokensRequest["tool_choice"]): ToolChoice {
  switch (choice?.type) {
    case "any": return "required";
    case "none": return "none";
    case "tool": return { type: "function", function: { name: choice.name } };
    default: return "auto";
  }
}

/** One message may be several in a template's terms: results of tools come before what the user says. */
function templateMessages(message: AnthropicMessage): ChatMessage[] {
  if (typeof message.content === "string") return [{ role: message.role, content: message.content }];
  if (message.role === "user") {
    const results = message.content.flatMap((block): ChatMessage[] => block.type === "tool_result" ? [{ role: "tool", tool_call_id: block.tool_use_id, content: resultText(block) }] : []);
    const said = message.content.flatMap((block) => block.type === "text" ? [block.text] : []);
    return [...results, ...(said.length > 0 ? [{ role: "user", content: said.join("\n") }] : [])];
  }
  const calls = message.content.flatMap((block) => block.type === "tool_use" ? [{ id: block.id, type: "function", function: { name: block.name, arguments: JSON.stringify(block.input) } }] : []);
  const thoughts = message.content.flatMap((block) => block.type === "thinking" ? [block.thinking] : []).join("\n");
  const said = message.content.flatMap((block) => block.type === "text" ? [block.text] : []).join("\n");
  return [{ role: "assistant", content: said, ...(thoughts !== "" && { reasoning_content: thoughts }), ...(calls.length > 0 && { tool_calls: calls }) }];
}

function resultText(block: { readonly content?: string | readonly { readonly type: string; readonly text?: unknown }[] | null | undefined; readonly is_error?: boolean | null | undefined }): string {
  const text = typeof block.content === "string" ? block.content : (block.content ?? []).flatMap((part) => typeof part.text === "string" ? [part.text] : []).join("\n");
  return block.is_error ? `Error: ${text}` : text;
}
