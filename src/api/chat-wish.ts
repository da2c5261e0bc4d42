/** A chat completion request as a wish to be answered. */
import { MinidError } from "../core/errors.js";
import type { ChatWish } from "./chat-job.js";
import { templateMessages } from "./conversation.js";
import { stopStrings } from "./sampling.js";
import type { ChatRequest } from "./schemas/chat.js";
import { wantedShape } from "./structured/wanted.js";

/** @throws MinidError for what the schema cannot see: fields that need or exclude each other */
export function chatWish(request: ChatRequest): ChatWish {
  if (!request.logprobs && typeof request.top_logprobs === "number") {
    throw new MinidError("invalid_value", "Invalid value for 'top_logprobs': it needs 'logprobs' to be true.", { param: "top_logprobs" });
  }
  return {
    conversation: {
      messages: templateMessages(request.messages),
      tools: request.tools ?? [],
      toolChoice: request.tool_choice ?? "auto",
      variables: templateVariables(request),
      shape: wantedShape(request.response_format, request.structured_outputs),
      parallelCalls: request.parallel_tool_calls !== false,
    },
    sampling: request,
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
    stops: stopStrings(request.stop),
    choices: request.n ?? 1,
    topLogprobs: request.logprobs ? request.top_logprobs ?? 0 : undefined,
    batch: request.service_tier === "flex",
    param: "messages",
  };
}

/** OpenAI's word for no thinking, as Qwen's templates know it; what the request says itself wins. */
function templateVariables({ reasoning_effort: effort, chat_template_kwargs: own }: ChatRequest): Record<string, unknown> {
  return { ...(effort === "none" && { enable_thinking: false }), ...own };
}
