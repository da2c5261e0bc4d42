/** OpenAI's chat objects, as they go over the wire. Pure. */
import type { AnswerUsage } from "./answer.js";

/** What all objects of one answer have in common. */
export interface ChatHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export interface ChatDelta {
  readonly role?: "assistant";
  readonly content?: string;
}

export type FinishReason = "stop" | "length";

export interface FinishedChoice {
  readonly content: string;
  readonly finishReason: FinishReason;
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
    choices: choices.map((choice, index) => ({
      index,
      message: { role: "assistant", content: choice.content, refusal: null },
      logprobs: null,
      finish_reason: choice.finishReason,
    })),
    usage: usageObject(usage),
    system_fingerprint: head.system_fingerprint,
  };
}

/** Makes the chunks of one stream. With `includeUsage` every chunk has `usage`, null but in the last. */
export class ChatChunks {
  readonly #head: ChatHead;
  readonly includeUsage: boolean;

  constructor(head: ChatHead, includeUsage: boolean) {
    this.#head = head;
    this.includeUsage = includeUsage;
  }

  delta(index: number, delta: ChatDelta, finishReason: FinishReason | null = null) {
    return this.#chunk([{ index, delta, logprobs: null, finish_reason: finishReason }], null);
  }

  usage(usage: AnswerUsage) { return this.#chunk([], usageObject(usage)); }

  #chunk(choices: readonly object[], usage: object | null) {
    const { id, created, model, system_fingerprint } = this.#head;
    return { id, object: "chat.completion.chunk", created, model, system_fingerprint, choices, ...(this.includeUsage ? { usage } : {}) };
  }
}
