/** Anthropic's message object and its stream of events. */
import type { AnswerUsage } from "../answer.js";
import type { ChatMessageBuilder } from "../chat-message.js";
import type { ChatStep } from "../chat-steps.js";
import { unreachable } from "../../core/invariant.js";
import type { Delta } from "../output/delta.js";
import type { SseStream } from "../sse.js";

type Finished = NonNullable<ChatStep["finished"]>;

export interface MessageHead {
  readonly id: string;
  readonly model: string;
}

export function messageObject(head: MessageHead, message: ChatMessageBuilder, finished: Finished) {
  return {
    ...emptyMessage(head),
    content: [
      ...(message.reasoning === "" ? [] : [{ type: "thinking", thinking: message.reasoning, signature: "" }]),
      ...(message.content === "" ? [] : [{ type: "text", text: message.content }]),
      ...message.toolCalls.map((call) => ({ type: "tool_use", id: call.id, name: call.function.name, input: inputObject(call.function.arguments) })),
    ],
    ...stopFields(finished),
    usage: usageObject(finished.usage),
  };
}

const emptyMessage = (head: MessageHead) => ({ id: head.id, type: "message", role: "assistant", model: head.model, content: [], stop_reason: null, stop_sequence: null });

const stopReasons = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" } as const;
const stopFields = ({ reason, stop }: Finished) => ({ stop_reason: stop === undefined ? stopReasons[reason] : "stop_sequence", stop_sequence: stop ?? null });

/** Anthropic counts cached tokens apart. */
const usageObject = (usage: AnswerUsage) => ({
  input_tokens: usage.promptTokens - usage.cachedPromptTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cachedPromptTokens,
  output_tokens: usage.completionTokens,
});

/** A call that was cut off has no valid input: then there is none. */
function inputObject(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Sends one message's events: a block is open until text of another kind comes. */
export class MessageEvents {
  readonly #stream: SseStream;
  readonly #head: MessageHead;
  readonly #promptTokens: number;
  #index = -1;
  #open: Delta["kind"] | undefined;
  #begun = false;

  constructor(stream: SseStream, head: MessageHead, promptTokens: number) {
    this.#stream = stream;
    this.#head = head;
    this.#promptTokens = promptTokens;
  }

  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const usage = { input_tokens: this.#promptTokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 };
    this.#send({ type: "message_start", message: { ...emptyMessage(this.#head), usage } });
    this.#send({ type: "ping" });
  }

  delta(delta: Delta): void {
    switch (delta.kind) {
      case "content":
        if (this.#open !== "content") this.#openBlock("content", { type: "text", text: "" });
        this.#blockDelta({ type: "text_delta", text: delta.text });
        break;
      case "reasoning":
        if (this.#open !== "reasoning") this.#openBlock("reasoning", { type: "thinking", thinking: "", signature: "" });
        this.#blockDelta({ type: "thinking_delta", thinking: delta.text });
        break;
      case "call":
        this.#openBlock("call", { type: "tool_use", id: delta.id, name: delta.name, input: {} });
        break;
      case "arguments":
        this.#blockDelta({ type: "input_json_delta", partial_json: delta.text });
        break;
      default: unreachable(delta);
    }
  }

  end(finished: Finished): void {
    this.#closeBlock();
    this.#send({ type: "message_delta", delta: stopFields(finished), usage: usageObject(finished.usage) });
    this.#send({ type: "message_stop" });
    this.#stream.end();
  }

  #openBlock(kind: Delta["kind"], block: object): void {
    this.#closeBlock();
    this.#index += 1;
    this.#open = kind;
    this.#send({ type: "content_block_start", index: this.#index, content_block: block });
  }

  #closeBlock(): void {
    if (this.#open === undefined) return;
    this.#open = undefined;
    this.#send({ type: "content_block_stop", index: this.#index });
  }

  #blockDelta(delta: object): void {
    this.#send({ type: "content_block_delta", index: this.#index, delta });
  }

  #send(event: { readonly type: string; readonly [field: string]: unknown }): void { this.#stream.send(event, event.type); }
}
