/** OpenAI's chat objects, as they go over the wire. Pure. */
import { unreachable } from "../core/invariant.js";
import type { AnswerUsage } from "./answer.js";
import type { ChatMessageBuilder } from "./chat-message.js";
import type { ChatFinish } from "./chat-steps.js";
import type { ChatLogprobs } from "./logprobs.js";
import type { Delta } from "./output/delta.js";

/** What all objects of one answer have in common. */
export interface ChatHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export interface FinishedChoice {
  readonly message: ChatMessageBuilder;
  readonly logprobs: ChatLogprobs | null;
  readonly finishReason: ChatFinish;
}

export function usageObject(usage: AnswerUsage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedPromptTokens },
  };
}

export function chatCompletion(head: ChatHead, choices: readonly FinishedChoice[], usage: AnswerUsage) {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: choices.map(({ message, logprobs, finishReason }, index) => ({ index, message: message.message(), logprobs, finish_reason: finishReason })),
    usage: usageObject(usage),
    system_fingerprint: head.system_fingerprint,
  };
}

export function deltaObject(delta: Delta): object {
  switch (delta.kind) {
    case "content": return { content: delta.text };
    case "reasoning": return { reasoning_content: delta.text };
    case "call": return { tool_calls: [{ index: delta.index, id: delta.id, type: "function", function: { name: delta.name, arguments: "" } }] };
    case "arguments": return { tool_calls: [{ index: delta.index, function: { arguments: delta.text } }] };
    default: return unreachable(delta);
  }
}

/** Makes the chunks of one stream. With `includeUsage` every chunk has `usage`, null but in the last. */
export class ChatChunks {
  readonly #head: ChatHead;
  readonly includeUsage: boolean;

  constructor(head: ChatHead, includeUsage: boolean) {
    this.#head = head;
    this.includeUsage = includeUsage;
  }

  choice(index: number, delta: object, logprobs: ChatLogprobs | null = null, finishReason: ChatFinish | null = null) {
    return this.#chunk([{ index, delta, logprobs, finish_reason: finishReason }], null);
  }

  usage(usage: AnswerUsage) { return this.#chunk([], usageObject(usage)); }

  #chunk(choices: readonly object[], usage: object | null) {
    const { id, created, model, system_fingerprint } = this.#head;
    return { id, object: "chat.completion.chunk", created, model, system_fingerprint, choices, ...(this.includeUsage ? { usage } : {}) };
  }
}
