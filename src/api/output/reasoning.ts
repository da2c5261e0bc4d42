/**
 * Separates a thinking model's `<think>…</think>` from the answer. Thinking is what comes first or not at all: the same tags
 * later are text. Blank lines around the tags belong to neither side.
 */
import type { Delta, OutputParser } from "./delta.js";
import { partialMarker } from "./marker.js";

const opening = "<think>";
const closing = "</think>";

export class ReasoningParser implements OutputParser {
  readonly #after: OutputParser;
  #state: "start" | "thinking" | "answerStart" | "answer";
  #held = "";
  /** Something of the reasoning has been told: from then on blank text is held back, not thrown away. */
  #told = false;

  /** @param inside the prompt already opened the tag. @param after gets the answer proper. */
  constructor(inside: boolean, after: OutputParser) {
    this.#state = inside ? "thinking" : "start";
    this.#after = after;
  }

  push(text: string): readonly Delta[] {
    if (this.#state === "answer") return this.#after.push(text);
    this.#held += text;
    const deltas: Delta[] = [];
    if (this.#state === "start" && !this.#begin()) return deltas;
    if (this.#state === "thinking") this.#think(deltas);
    if (this.#state === "answerStart") {
      this.#held = this.#held.trimStart();
      if (this.#held !== "") this.#state = "answer";
    }
    if (this.#state === "answer") deltas.push(...this.#after.push(this.#take()));
    return deltas;
  }

  end(): readonly Delta[] {
    const rest = this.#take();
    if (this.#state === "thinking") {
      const text = rest.trimEnd();
      return [...(text === "" ? [] : [{ kind: "reasoning" as const, text }]), ...this.#after.end()];
    }
    return [...(rest === "" ? [] : this.#after.push(rest)), ...this.#after.end()];
  }

  /** @returns false while it is not certain whether the answer begins with the tag. */
  #begin(): boolean {
    const text = this.#held.trimStart();
    if (text.startsWith(opening)) {
      this.#state = "thinking";
      this.#held = text.slice(opening.length);
      return true;
    }
    if (opening.startsWith(text)) return false;
    this.#state = "answer";
    return true;
  }

  #think(deltas: Delta[]): void {
    if (!this.#told) this.#held = this.#held.trimStart();
    const end = this.#held.indexOf(closing);
    const certain = end >= 0 ? this.#held.slice(0, end) : this.#held.slice(0, this.#held.length - partialMarker(this.#held, closing));
    const text = certain.trimEnd();
    if (text !== "") {
      deltas.push({ kind: "reasoning", text });
      this.#told = true;
    }
    if (end >= 0) {
      this.#held = this.#held.slice(end + closing.length);
      this.#state = "answerStart";
    } else {
      this.#held = this.#held.slice(text.length);
    }
  }

  #take(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}
