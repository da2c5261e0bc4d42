/** Tool calls that must be made, as a grammar: the family's own way of writing them, with arguments that fit each tool's schema. */
import type { GrammarPart } from "../../model/grammar/grammar.js";
import type { ToolFormatName } from "../output/tool-calls.js";
import type { Tool } from "../schemas/tools.js";

/** More calls at once than any use has. */
const callsMax = 16;

interface CallSyntax {
  readonly before: string;
  readonly between: string;
  readonly after: string;
  readonly call: (name: string, values: GrammarPart) => GrammarPart;
}

const text = (value: string): GrammarPart => ({ kind: "text", text: value });
const call = (open: string, key: string, close: string) => (name: string, values: GrammarPart): GrammarPart =>
  ({ kind: "sequence", parts: [text(`${open}{"name": ${JSON.stringify(name)}, "${key}": `), values, text(`}${close}`)] });

const syntaxes: Readonly<Record<ToolFormatName, CallSyntax>> = {
  hermes: { before: "", between: "\n", after: "", call: call("<tool_call>\n", "arguments", "\n</tool_call>") },
  mistral: { before: "[TOOL_CALLS] [", between: ", ", after: "]", call: call("", "arguments", "") },
  llama: { before: "", between: "; ", after: "", call: call("", "parameters", "") },
};

/** The special token that a family's calls begin with. */
export const toolCallMarker = (format: ToolFormatName): string | undefined => format === "mistral" ? "[TOOL_CALLS]" : undefined;

/** @param several whether more than one call may be made */
export function toolCallsPart(format: ToolFormatName, tools: readonly Tool[], several: boolean): GrammarPart {
  const { before, between, after, call: write } = syntaxes[format];
  const one: GrammarPart = { kind: "choice", parts: tools.map((tool) => write(tool.function.name, argumentsPart(tool))) };
  const more: GrammarPart = { kind: "repeat", part: { kind: "sequence", parts: [text(between), one] }, min: 0, max: several ? callsMax - 1 : 0 };
  return { kind: "sequence", parts: [text(before), one, more, text(after)] };
}

/** Without a schema any object will do; one that says nothing of its type means an object all the same. */
export function argumentsPart({ function: { parameters } }: Tool): GrammarPart {
  if (!parameters || Object.keys(parameters).length === 0) return { kind: "object" };
  return { kind: "schema", schema: "type" in parameters || "$ref" in parameters || "anyOf" in parameters ? parameters : { type: "object", ...parameters } };
}
