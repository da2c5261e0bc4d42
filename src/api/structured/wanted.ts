/** What shape a request wants its answer to have, as a part of a grammar; the path is where its errors are told. */
import { MinidError } from "../../core/errors.js";
import type { GrammarPart } from "../../model/grammar/grammar.js";
import type { ResponseFormat, StructuredOutputs } from "../schemas/response-format.js";

export interface WantedShape {
  readonly part: GrammarPart;
  /** Of the request's field that asked for it. */
  readonly param: string;
  /** True when the answer is a JSON document. */
  readonly json: boolean;
}

/** @throws MinidError invalid_value when both fields ask for something */
export function wantedShape(format: ResponseFormat | null | undefined, outputs: StructuredOutputs | null | undefined): WantedShape | undefined {
  const byFormat = format ? ofFormat(format) : undefined;
  const byOutputs = outputs ? ofOutputs(outputs) : undefined;
  if (byFormat && byOutputs) throw new MinidError("invalid_value", "Invalid value for 'structured_outputs': 'response_format' asks for a shape as well. Leave one of them out.", { param: "structured_outputs" });
  return byFormat ?? byOutputs;
}

function ofFormat(format: ResponseFormat): WantedShape | undefined {
  switch (format.type) {
    case "json_object": return { part: { kind: "object" }, param: "response_format", json: true };
    case "json_schema": return { part: { kind: "schema", schema: format.json_schema.schema }, param: "response_format.json_schema.schema", json: true };
    default: return undefined;
  }
}

function ofOutputs({ json, regex, choice, grammar }: StructuredOutputs): WantedShape {
  if (json !== undefined) return { part: { kind: "schema", schema: json }, param: "structured_outputs.json", json: true };
  if (regex !== undefined) return { part: { kind: "regex", pattern: regex }, param: "structured_outputs.regex", json: false };
  if (grammar !== undefined) return { part: { kind: "ebnf", grammar }, param: "structured_outputs.grammar", json: false };
  return { part: { kind: "choice", parts: (choice ?? []).map((text) => ({ kind: "text", text })) }, param: "structured_outputs.choice", json: false };
}
