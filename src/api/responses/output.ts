/** The output of a response, item by item, out of an answer's deltas; and the events that tell it while it grows. */
import { unreachable } from "../../core/invariant.js";
import type { Delta } from "../output/delta.js";

export type Emit = (event: { readonly type: string; readonly [field: string]: unknown }) => void;

interface Item { readonly type: "message" | "reasoning" | "function_call"; readonly id: string; text: string; readonly callId: string; readonly name: string }

export class ResponseOutput {
  readonly #emit: Emit;
  readonly #newId: (prefix: string) => string;
  readonly #items: Item[] = [];
  #open = false;

  /** @param emit gets every event of the items; a whole response has no use for them */
  constructor(emit: Emit, newId: (prefix: string) => string) {
    this.#emit = emit;
    this.#newId = newId;
  }

  add(deltas: readonly Delta[]): void {
    for (const delta of deltas) {
      switch (delta.kind) {
        case "content": this.#text("message", delta.text); break;
        case "reasoning": this.#text("reasoning", delta.text); break;
        case "call": this.#begin({ type: "function_call", id: this.#newId("fc_"), text: "", callId: delta.id, name: delta.name }); break;
        case "arguments": this.#more(delta.text); break;
        default: unreachable(delta);
      }
    }
  }

  /** The last item is complete, or as complete as it gets. @returns all of them. */
  end(complete: boolean): readonly object[] {
    this.#close(complete);
    const last = this.#items.length - 1;
    return this.#items.map((item, index) => itemObject(item, complete || index < last ? "completed" : "incomplete"));
  }

  /** What the model said and called, as the next request's conversation has it. */
  message(): { readonly content: string; readonly calls: readonly object[] } {
    const of = (type: Item["type"]) => this.#items.filter((item) => item.type === type);
    return {
      content: of("message").map((item) => item.text).join(""),
      calls: of("function_call").map((item) => ({ id: item.callId, type: "function", function: { name: item.name, arguments: item.text } })),
    };
  }

  #text(type: "message" | "reasoning", text: string): void {
    if (!this.#open || this.#items.at(-1)?.type !== type) this.#begin({ type, id: this.#newId(type === "message" ? "msg_" : "rs_"), text: "", callId: "", name: "" });
    this.#more(text);
  }

  #begin(item: Item): void {
    this.#close(true);
    this.#items.push(item);
    this.#open = true;
    const at = this.#place();
    this.#emit({ type: "response.output_item.added", output_index: at.output_index, item: itemObject(item, "in_progress", true) });
    if (item.type !== "function_call") this.#emit({ type: "response.content_part.added", ...at, content_index: 0, part: partObject(item, "") });
  }

  #more(text: string): void {
    const item = this.#items.at(-1)!;
    item.text += text;
    switch (item.type) {
      case "message": this.#emit({ type: "response.output_text.delta", ...this.#place(), content_index: 0, delta: text, logprobs: [] }); break;
      case "reasoning": this.#emit({ type: "response.reasoning_text.delta", ...this.#place(), content_index: 0, delta: text }); break;
      case "function_call": this.#emit({ type: "response.function_call_arguments.delta", ...this.#place(), delta: text }); break;
      default: unreachable(item.type);
    }
  }

  #close(complete: boolean): void {
    const item = this.#items.at(-1);
    if (!this.#open || !item) return;
    this.#open = false;
    const at = this.#place();
    switch (item.type) {
      case "message": this.#emit({ type: "response.output_text.done", ...at, content_index: 0, text: item.text, logprobs: [] }); break;
      case "reasoning": this.#emit({ type: "response.reasoning_text.done", ...at, content_index: 0, text: item.text }); break;
      case "function_call": this.#emit({ type: "response.function_call_arguments.done", ...at, name: item.name, arguments: item.text }); break;
      default: unreachable(item.type);
    }
    if (item.type !== "function_call") this.#emit({ type: "response.content_part.done", ...at, content_index: 0, part: partObject(item, item.text) });
    this.#emit({ type: "response.output_item.done", output_index: at.output_index, item: itemObject(item, complete ? "completed" : "incomplete") });
  }

  #place(): { readonly item_id: string; readonly output_index: number } {
    return { item_id: this.#items.at(-1)!.id, output_index: this.#items.length - 1 };
  }
}

const partObject = (item: Item, text: string): object =>
  item.type === "message" ? { type: "output_text", text, annotations: [], logprobs: [] } : { type: "reasoning_text", text };

function itemObject(item: Item, status: "in_progress" | "completed" | "incomplete", empty = false): object {
  switch (item.type) {
    case "message": return { type: "message", id: item.id, status, role: "assistant", content: empty ? [] : [partObject(item, item.text)] };
    case "reasoning": return { type: "reasoning", id: item.id, summary: [], content: empty ? [] : [partObject(item, item.text)] };
    case "function_call": return { type: "function_call", id: item.id, status, call_id: item.callId, name: item.name, arguments: item.text };
    default: return unreachable(item.type);
  }
}
