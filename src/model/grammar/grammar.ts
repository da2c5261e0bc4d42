/**
 * A grammar as it travels from the front door to the worker that samples: JSON text, small, and the same everywhere.
 * Whoever receives it compiles it; the front door does so first, to refuse what cannot be.
 */
import { z } from "zod";
import { type Expr, choice, literal, optional, repeat, sequence, until } from "./expr.js";
import { jsonAnyObject, jsonValue } from "./json.js";
import { ebnfExpr } from "./ebnf.js";
import { schemaExpr } from "./json-schema.js";
import { regexExpr } from "./regex.js";
import { character } from "./char-set.js";

/** Bytes of a grammar's JSON text. */
export const grammarBytesMax = 128 << 10;

const partSchema: z.ZodType<GrammarPart> = z.lazy(() => z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("text"), text: z.string() }),
  z.strictObject({ kind: z.literal("schema"), schema: z.unknown() }),
  z.strictObject({ kind: z.literal("object") }),
  z.strictObject({ kind: z.literal("regex"), pattern: z.string() }),
  z.strictObject({ kind: z.literal("ebnf"), grammar: z.string() }),
  z.strictObject({ kind: z.literal("until"), marker: z.string().min(1) }),
  z.strictObject({ kind: z.literal("optional"), part: partSchema }),
  z.strictObject({ kind: z.literal("sequence"), parts: z.array(partSchema) }),
  z.strictObject({ kind: z.literal("choice"), parts: z.array(partSchema) }),
  z.strictObject({ kind: z.literal("repeat"), part: partSchema, min: z.int().min(0), max: z.int().min(0).optional() }),
]));

export type GrammarPart =
  /** Exactly this. */
  | { readonly kind: "text"; readonly text: string }
  /** A document that the JSON schema accepts. */
  | { readonly kind: "schema"; readonly schema?: unknown }
  /** Any JSON object. */
  | { readonly kind: "object" }
  /** All of it matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** All of it is what the grammar's rule `root` writes. */
  | { readonly kind: "ebnf"; readonly grammar: string }
  /** Anything up to and including the first occurrence of an ASCII text. */
  | { readonly kind: "until"; readonly marker: string }
  | { readonly kind: "optional"; readonly part: GrammarPart }
  | { readonly kind: "sequence"; readonly parts: readonly GrammarPart[] }
  | { readonly kind: "choice"; readonly parts: readonly GrammarPart[] }
  | { readonly kind: "repeat"; readonly part: GrammarPart; readonly min: number; readonly max?: number | undefined };

export interface Grammar {
  readonly root: GrammarPart;
  /** Allowed where the text may end, and nowhere else. */
  readonly stopTokens: readonly number[];
  /** Special tokens that stand for their text here: some families write tool calls with them. */
  readonly specialTokens?: readonly number[] | undefined;
}

const grammarSchema = z.strictObject({
  root: partSchema,
  stopTokens: z.array(z.int().min(0)).min(1),
  specialTokens: z.array(z.int().min(0)).optional(),
});

export const grammarText = (grammar: Grammar): string => JSON.stringify(grammar);

/** @throws Error for what `grammarText` did not write */
export const parseGrammar = (text: string): Grammar => grammarSchema.parse(JSON.parse(text));

/** @throws SchemaError | UnsupportedRegex | EbnfError */
export function grammarExpr(part: GrammarPart): Expr {
  switch (part.kind) {
    case "text": return literal(part.text);
    case "schema": return part.schema === undefined ? jsonValue : schemaExpr(part.schema);
    case "object": return jsonAnyObject;
    case "regex": return regexExpr(part.pattern, character, false);
    case "ebnf": return ebnfExpr(part.grammar);
    case "until": return until(part.marker);
    case "optional": return optional(grammarExpr(part.part));
    case "sequence": return sequence(...part.parts.map(grammarExpr));
    case "choice": return choice(...part.parts.map(grammarExpr));
    case "repeat": return repeat(grammarExpr(part.part), part.min, part.max ?? Infinity);
    default: return part satisfies never;
  }
}

