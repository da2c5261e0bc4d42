/** The grammar of an answer, checked and ready to travel: what a request that must have a certain shape is refused for, it is refused for here. */
import { MinidError } from "../../core/errors.js";
import { grammarBytesMax, grammarExpr, type GrammarPart, grammarText } from "../../model/grammar/grammar.js";
import { EbnfError } from "../../model/grammar/ebnf-node.js";
import { UnsupportedRegex } from "../../model/grammar/regex.js";
import { SchemaError } from "../../model/grammar/schema-error.js";
import { paramPath } from "../validate.js";
import type { WantedShape } from "./wanted.js";

/** Whether the model thinks before it answers: the prompt has begun it, the model may begin it, or neither. */
export type Thinking = "begun" | "possible" | "none";

const blankLine: GrammarPart = { kind: "regex", pattern: "\\n{0,2}" };
const thoughts: GrammarPart = { kind: "sequence", parts: [{ kind: "until", marker: "</think>" }, blankLine] };

/** Thinking is free; what comes after it has the shape. */
export function afterThinking(thinking: Thinking, shape: GrammarPart): GrammarPart {
  switch (thinking) {
    case "begun": return { kind: "sequence", parts: [thoughts, shape] };
    case "possible": return { kind: "sequence", parts: [{ kind: "optional", part: { kind: "sequence", parts: [{ kind: "text", text: "<think>" }, thoughts] } }, shape] };
    default: return shape;
  }
}

/** @throws MinidError invalid_value with the path inside the schema */
export function checkPart(part: GrammarPart, param: string): void {
  checkSize(JSON.stringify(part), param);
  try {
    grammarExpr(part);
  } catch (thrown) {
    if (thrown instanceof SchemaError) {
      const path = paramPath(thrown.path);
      const full = path === "" ? param : `${param}${path.startsWith("[") ? "" : "."}${path}`;
      throw new MinidError("invalid_value", `Invalid schema in '${full}': ${thrown.message}.`, { param: full });
    }
    if (thrown instanceof UnsupportedRegex) throw new MinidError("invalid_value", `Invalid value for '${param}': the pattern is not supported, ${thrown.message}.`, { param });
    if (thrown instanceof EbnfError) throw new MinidError("invalid_value", `Invalid value for '${param}': the grammar is wrong, ${thrown.message}.`, { param });
    throw thrown;
  }
}

/** Of an answer that is nothing but the shape. @throws MinidError invalid_value */
export function shapeGrammar({ part, param }: WantedShape, stopTokens: readonly number[]): string {
  checkPart(part, param);
  return finishedGrammar(part, stopTokens, [], param);
}

/** @throws MinidError invalid_value */
export function finishedGrammar(root: GrammarPart, stopTokens: readonly number[], specialTokens: readonly number[], param: string): string {
  const text = grammarText({ root, stopTokens, specialTokens });
  checkSize(text, param);
  return text;
}

function checkSize(text: string, param: string): void {
  if (Buffer.byteLength(text) <= grammarBytesMax) return;
  throw new MinidError("invalid_value", `Invalid value for '${param}': what it asks for is larger than ${grammarBytesMax} bytes. Send a smaller schema.`, { param });
}
