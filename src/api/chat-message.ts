/** The deltas of one choice put together: OpenAI's assistant message. */
import type { Delta } from "./output/delta.js";

export interface ToolCallObject {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

export class ChatMessageBuilder {
  #content = "";
  #reasoning = "";
  readonly #calls: { id: string; name: string; arguments: string }[] = [];

  add(deltas: readonly Delta[]): void {
    for (const delta of deltas) {
      switch (delta.kind) {
        case "content": this.#content += delta.text; break;
        case "reasoning": this.#reasoning += delta.text; break;
        case "call": this.#calls[delta.index] = { id: delta.id, name: delta.name, arguments: "" }; break;
        case "arguments": this.#calls[delta.index]!.arguments += delta.text; break;
      }
    }
  }

  get content(): string { return this.#content; }
  get reasoning(): string { return this.#reasoning; }
  get toolCalls(): readonly ToolCallObject[] {
    return this.#calls.map(({ id, name, arguments: text }) => ({ id, type: "function", function: { name, arguments: text } }));
  }

  /** `content` is null where there are calls and no text; the other fields are there only when they have something. */
  message() {
    const calls = this.toolCalls;
    return {
      role: "assistant",
      content: this.#content === "" && calls.length > 0 ? null : this.#content,
      refusal: null,
      ...(this.#reasoning !== "" && { reasoning_content: this.#reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
  }
}
