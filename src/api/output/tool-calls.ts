/**
 * Finds the tool calls in an answer, in the way the model's family writes them, and tells them as they are written.
 * What looks like a call and is none is text after all. Blank text next to calls belongs to nobody and is left out.
 */
import { unreachable } from "../../core/invariant.js";
import { CallScanner } from "./call-scanner.js";
import type { Delta, OutputParser } from "./delta.js";
import { partialMarker } from "./marker.js";

export type ToolFormatName = "hermes" | "mistral" | "llama";

interface ToolSyntax {
  /** What announces calls. Without one an answer is calls from its first character or not at all. */
  readonly begin?: string;
  /** What ends the announcement: text may follow. Without one calls go on to the end. */
  readonly end?: string;
  /** What may stand before, between and behind the calls of one announcement. */
  readonly filler: RegExp;
  /** The only filler that is longer than a character. */
  readonly fillerMarker?: string;
}

const syntaxes: Readonly<Record<ToolFormatName, ToolSyntax>> = {
  /** `<tool_call>\n{…}\n</tool_call>`, each call in its own tags (Nous Hermes, Qwen). */
  hermes: { begin: "<tool_call>", end: "</tool_call>", filler: /^\s+/u },
  /** `[TOOL_CALLS] [{…}, {…}]` */
  mistral: { begin: "[TOOL_CALLS]", filler: /^[\s[\],]+/u },
  /** The whole answer is `{…}`, several separated by semicolons, sometimes behind a tag (Llama 3.1). */
  llama: { filler: /^(?:<\|python_tag\|>|[\s;])+/u, fillerMarker: "<|python_tag|>" },
};

export class ToolCallParser implements OutputParser {
  readonly #syntax: ToolSyntax;
  readonly #newId: () => string;
  #place: "text" | "between" | "call";
  /** Not looked at yet. */
  #held = "";
  /** Read since the announcement began: text again if there is no call in it. */
  #raw = "";
  #scanner: CallScanner | undefined;
  #begun = 0;
  #complete = 0;
  #announced = 0;
  /** Blank text that is only told if more text follows. */
  #blank = "";
  #afterCall = false;
  #deltas: Delta[] = [];

  constructor(format: ToolFormatName, newId: () => string) {
    this.#syntax = syntaxes[format];
    this.#newId = newId;
    this.#place = this.#syntax.begin === undefined ? "between" : "text";
  }

  /** Calls read to their end. */
  get completeCalls(): number { return this.#complete; }

  push(text: string): readonly Delta[] {
    this.#held += text;
    while (this.#held !== "" && this.#advance());
    return this.#taken();
  }

  end(): readonly Delta[] {
    if (this.#place === "text") this.#say(this.#held);
    else if (this.#place === "between" && this.#announced === 0) this.#say(this.#raw + this.#held);
    else if (this.#place === "call" && this.#scanner?.named !== true) this.#say(this.#raw + this.#held);
    if (this.#begun === 0 && this.#blank !== "") this.#deltas.push({ kind: "content", text: this.#blank });
    this.#held = "";
    return this.#taken();
  }

  /** @returns false when more text is needed. */
  #advance(): boolean {
    switch (this.#place) {
      case "text": return this.#text();
      case "between": return this.#between();
      case "call": return this.#call();
      default: return unreachable(this.#place);
    }
  }

  #text(): boolean {
    const { begin } = this.#syntax;
    const at = begin === undefined ? -1 : this.#held.indexOf(begin);
    if (begin === undefined || at < 0) {
      this.#say(this.#take(this.#held.length - (begin === undefined ? 0 : partialMarker(this.#held, begin))));
      return false;
    }
    this.#say(this.#take(at));
    this.#raw = this.#take(begin.length);
    this.#announced = 0;
    this.#place = "between";
    return true;
  }

  #between(): boolean {
    const { end, filler, fillerMarker } = this.#syntax;
    this.#raw += this.#take(filler.exec(this.#held)?.[0].length ?? 0);
    if (this.#held === "") return false;
    if (this.#held.startsWith("{")) {
      this.#place = "call";
      this.#scanner = this.#newScanner();
      return true;
    }
    if (end !== undefined && this.#held.startsWith(end)) {
      this.#take(end.length);
      this.#place = "text";
      return true;
    }
    if ([end, fillerMarker].some((marker) => marker?.startsWith(this.#held))) return false;
    // A brace too many behind a call is a common slip.
    if (this.#announced > 0 && end !== undefined) this.#take(1);
    else this.#notACall();
    return true;
  }

  #call(): boolean {
    const scanner = this.#scanner!;
    const { consumed, status } = scanner.push(this.#held);
    this.#raw += this.#take(consumed);
    if (status === "open") return false;
    if (!scanner.named) this.#notACall();
    else {
      this.#complete += 1;
      this.#announced += 1;
      this.#raw = "";
      this.#place = "between";
    }
    return true;
  }

  #notACall(): void {
    this.#say(this.#raw);
    this.#raw = "";
    this.#place = "text";
  }

  #newScanner(): CallScanner {
    const index = this.#begun;
    return new CallScanner(
      (name) => {
        this.#begun += 1;
        this.#afterCall = true;
        this.#blank = "";
        this.#deltas.push({ kind: "call", index, id: this.#newId(), name });
      },
      (text) => this.#deltas.push({ kind: "arguments", index, text }),
    );
  }

  #say(text: string): void {
    const all = this.#blank + text;
    const solid = all.trimEnd();
    this.#blank = all.slice(solid.length);
    if (solid === "") return;
    this.#deltas.push({ kind: "content", text: this.#afterCall ? solid.trimStart() : solid });
    this.#afterCall = false;
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }

  #taken(): readonly Delta[] {
    const deltas = this.#deltas;
    this.#deltas = [];
    return deltas;
  }
}
