/** OpenAI's response object. Pure. */
import type { AnswerUsage } from "../answer.js";
import type { ResponsesRequest } from "../schemas/responses.js";

export interface ResponseHead {
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly model: string;
}

export type ResponseState =
  | { readonly status: "in_progress" }
  | { readonly status: "completed" | "incomplete"; readonly output: readonly object[]; readonly usage: AnswerUsage }
  | { readonly status: "failed"; readonly error: { readonly code: string; readonly message: string } };

export function responseObject(head: ResponseHead, request: ResponsesRequest, state: ResponseState) {
  return {
    id: head.id,
    object: "response",
    created_at: head.createdAt,
    status: state.status,
    background: false,
    error: state.status === "failed" ? state.error : null,
    incomplete_details: state.status === "incomplete" ? { reason: "max_output_tokens" } : null,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    model: head.model,
    output: "output" in state ? state.output : [],
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: request.previous_response_id ?? null,
    reasoning: { effort: request.reasoning?.effort ?? null, summary: null },
    store: request.store ?? true,
    temperature: request.temperature ?? 1,
    text: { format: request.text?.format ?? { type: "text" } },
    tool_choice: request.tool_choice ?? "auto",
    tools: request.tools ?? [],
    top_p: request.top_p ?? 1,
    truncation: "disabled",
    usage: "usage" in state ? usageObject(state.usage) : null,
    user: request.user ?? null,
    metadata: request.metadata ?? {},
  };
}

const usageObject = (usage: AnswerUsage) => ({
  input_tokens: usage.promptTokens,
  input_tokens_details: { cached_tokens: usage.cachedPromptTokens },
  output_tokens: usage.completionTokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: usage.promptTokens + usage.completionTokens,
});
