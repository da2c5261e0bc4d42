/**
 * Reads one tool call, `{"name": …, "arguments": {…}}` (Llama says `parameters`), while it is being written: the name as soon as it
 * is there, the arguments' text as it comes. Other fields are passed over. Reads JSON as far as it must to find the ends of values;
 * whether the arguments are valid is for the client to see, as with OpenAI.
 */

import { unreachable } from "../../core/invariant.js";

export interface ScanStep {
  /** How much of the piece belongs to the call; less than all of it when the call ended. */
  readonly consumed: number;
  readonly status: "open" | "done" | "invalid";
}

const argumentKeys: ReadonlySet<string> = new Set(["arguments", "parameters"]);
type Place = "start" | "key" | "colon" | "value" | "inValue" | "comma";

export class CallScanner {
  readonly #onName: (name: string) => void;
  readonly #onArguments: (text: string) => void;
  #place: Place = "start";
  /** Raw JSON of the key or value being read. */
  #raw = "";
  #key = "";
  #depth = 0;
  #inString = false;
  #escaped = false;
  #name: string | undefined;
  /** Arguments that came before the name, or that may be a string of JSON. */
  #arguments = "";
  #argumentsTold = false;

  constructor(onName: (name: string) => void, onArguments: (text: string) => void) {
    this.#onName = onName;
    this.#onArguments = onArguments;
  }

  push(piece: string): ScanStep {
    let streamed = "";
    for (let at = 0; at < piece.length; at += 1) {
      const character = piece[at]!;
      const streaming = this.#streaming(character);
      const status = this.#step(character);
      if (streaming && (this.#place === "inValue" || (this.#place === "comma" && character !== ","))) streamed += character;
      if (status === "open") continue;
      this.#tell(streamed);
      if (status === "done") this.#finish();
      return { consumed: at + 1, status };
    }
    this.#tell(streamed);
    return { consumed: piece.length, status: "open" };
  }

  /** True for characters of an arguments object whose name is known: they need not wait for its end. */
  #streaming(character: string): boolean {
    return this.#name !== undefined && argumentKeys.has(this.#key)
      && ((this.#place === "value" && character === "{") || (this.#place === "inValue" && this.#raw.startsWith("{")));
  }

  #step(character: string): ScanStep["status"] {
    switch (this.#place) {
      case "start":
        if (character === "{") this.#place = "key";
        else if (!isBlank(character)) return "invalid";
        return "open";
      case "key":
        if (this.#raw === "" && isBlank(character)) return "open";
        if (this.#raw === "" && character === "}") return "done";
        if (this.#raw === "" && character !== '"') return "invalid";
        this.#read(character);
        if (!this.#inString) {
          const key = parsed(this.#raw);
          if (typeof key !== "string") return "invalid";
          this.#key = key;
          this.#raw = "";
          this.#place = "colon";
        }
        return "open";
      case "colon":
        if (character === ":") this.#place = "value";
        else if (!isBlank(character)) return "invalid";
        return "open";
      case "value":
        if (isBlank(character)) return "open";
        if (character === "," || character === "}" || character === "]") return "invalid";
        this.#place = "inValue";
        return this.#readValue(character);
      case "inValue":
        return this.#readValue(character);
      case "comma":
        if (character === ",") this.#place = "key";
        else if (character === "}") return "done";
        else if (!isBlank(character)) return "invalid";
        return "open";
      default: return unreachable(this.#place);
    }
  }

  #readValue(character: string): ScanStep["status"] {
    const scalar = this.#depth === 0 && !this.#inString && this.#raw !== "";
    if (scalar && (character === "," || character === "}" || isBlank(character))) {
      const valid = this.#valueEnded();
      if (!valid) return "invalid";
      return this.#step(character);
    }
    this.#read(character);
    const closed = this.#depth === 0 && !this.#inString && /["}\]]/u.test(character);
    return closed && !this.#valueEnded() ? "invalid" : "open";
  }

  #read(character: string): void {
    this.#raw += character;
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (character === "\\") this.#escaped = true;
      else if (character === '"') this.#inString = false;
    } else if (character === '"') this.#inString = true;
    else if (character === "{" || character === "[") this.#depth += 1;
    else if (character === "}" || character === "]") this.#depth -= 1;
  }

  #valueEnded(): boolean {
    const raw = this.#raw;
    this.#raw = "";
    this.#place = "comma";
    if (this.#key === "name") {
      const name = parsed(raw);
      if (typeof name !== "string" || name === "") return false;
      if (this.#name === undefined) {
        this.#name = name;
        this.#onName(name);
      }
    } else if (argumentKeys.has(this.#key) && !this.#argumentsTold) {
      const value = parsed(raw);
      // Some models write the arguments as a string that holds JSON, as OpenAI's API has them.
      this.#arguments = typeof value === "string" ? value : raw;
    }
    return true;
  }

  #tell(streamed: string): void {
    if (streamed === "") return;
    this.#argumentsTold = true;
    this.#onArguments(streamed);
  }

  #finish(): void {
    if (this.#name !== undefined && !this.#argumentsTold) this.#onArguments(this.#arguments === "" ? "{}" : this.#arguments);
  }

  /** After `done`: false when the object was no call. */
  get named(): boolean { return this.#name !== undefined; }
}

const isBlank = (character: string): boolean => character === " " || character === "\n" || character === "\t" || character === "\r";

function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}
