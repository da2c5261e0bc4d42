/** The items of a responses request as a conversation. Pure. */
import type { ChatMessage } from "../../model/chat-template.js";
import type { ChatWish } from "../chat-job.js";
import type { InputItem, ResponsesRequest } from "../schemas/responses.js";
import type { Tool } from "../schemas/tools.js";
import { wantedShape } from "../structured/wanted.js";

/** @param before the conversation that `previous_response_id` goes on with, without its instructions */
export function responsesWish(request: ResponsesRequest, before: readonly ChatMessage[]): ChatWish {
  const choice = request.tool_choice ?? "auto";
  const format = request.text?.format;
  return {
    conversation: {
      messages: [...(request.instructions ? [{ role: "system", content: request.instructions }] : []), ...before, ...inputMessages(request.input)],
      tools: (request.tools ?? []).map((tool): Tool => ({ type: "function", function: { name: tool.name, ...(tool.description && { description: tool.description }), ...(tool.parameters && { parameters: tool.parameters }) } })),
      toolChoice: typeof choice === "string" ? choice : { type: "function", function: { name: choice.name } },
      parallelCalls: request.parallel_tool_calls !== false,
      variables: request.reasoning?.effort === "none" ? { enable_thinking: false } : {},
      shape: shapeOf(format),
    },
    sampling: request,
    maxTokens: request.max_output_tokens ?? undefined,
    stops: [],
    choices: 1,
    topLogprobs: undefined,
    batch: request.service_tier === "flex",
    param: "input",
  };
}

function shapeOf(format: NonNullable<ResponsesRequest["text"]>["format"]) {
  if (format?.type !== "json_schema") return wantedShape(format, undefined);
  const shape = wantedShape({ type: "json_schema", json_schema: { name: format.name, schema: format.schema } }, undefined);
  return shape && { ...shape, param: "text.format.schema" };
}

/** Calls belong to the assistant's message before them, or make one. */
export function inputMessages(input: ResponsesRequest["input"]): ChatMessage[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  const messages: ChatMessage[] = [];
  for (const item of input) {
    if (item.type === "function_call") addCall(messages, item);
    else if (item.type === "function_call_output") messages.push({ role: "tool", tool_call_id: item.call_id, content: textOf(item.output) });
    else if (item.type === "reasoning") continue;
    else messages.push({ role: item.role === "developer" ? "system" : item.role, content: textOf(item.content) });
  }
  return messages;
}

function addCall(messages: ChatMessage[], item: Extract<InputItem, { type: "function_call" }>): void {
  const call = { id: item.call_id, type: "function", function: { name: item.name, arguments: item.arguments } };
  const last = messages.at(-1);
  if (last?.role !== "assistant") messages.push({ role: "assistant", content: "", tool_calls: [call] });
  else messages[messages.length - 1] = { ...last, tool_calls: [...(last["tool_calls"] as readonly unknown[] | undefined ?? []), call] };
}

function textOf(content: Extract<InputItem, { type: "function_call_output" }>["output"]): string {
  if (typeof content === "string") return content;
  return content.flatMap((part) => "text" in part && typeof part.text === "string" ? [part.text] : "refusal" in part && typeof part.refusal === "string" ? [part.refusal] : []).join("\n");
}
