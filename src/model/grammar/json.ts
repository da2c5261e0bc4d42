/**
 * JSON as this server writes it under a grammar: on one line, `, ` and `: ` between, no escapes but the short ones.
 * One way to write each document keeps a model from filling its tokens with blanks.
 */
import { anything, type CharSet, character, chars, complement, has, intersect, union } from "./char-set.js";
import { type Expr, choice, literal, optional, reference, repeat, sequence } from "./expr.js";
import { numberExpr } from "./numbers.js";

const shortEscapes: readonly (readonly [string, string])[] = [['"', '\\"'], ["\\", "\\\\"], ["\b", "\\b"], ["\f", "\\f"], ["\n", "\\n"], ["\r", "\\r"], ["\t", "\\t"]];
const mustEscape: CharSet = union([[0, 0x1f]], chars('"\\'));
const plain = complement(mustEscape);

/** One character of the set as it stands in a JSON string. Control characters without a short escape are left out. */
export function jsonCharacter(set: CharSet): Expr {
  return choice(
    character(intersect(set, plain)),
    ...shortEscapes.flatMap(([text, escaped]) => has(set, text.codePointAt(0)!) ? [literal(escaped)] : []),
  );
}

const anyCharacter = jsonCharacter(anything);
const quote = literal('"');

export const jsonString = (content: Expr): Expr => sequence(quote, content, quote);
/** A string of `min` to `max` code points. */
export const jsonText = (min: number, max: number): Expr => jsonString(repeat(anyCharacter, min, max));

export const comma = literal(", ");
export const colon = literal(": ");
export const jsonLiteral = (value: unknown): Expr => literal(JSON.stringify(value));

/** `item`, separated by commas, `min` to `max` times. */
export function separated(item: Expr, min: number, max: number): Expr {
  if (max <= 0) return sequence();
  const some = sequence(item, repeat(sequence(comma, item), Math.max(0, min - 1), max - 1));
  return min > 0 ? some : optional(some);
}

export const jsonArray = (item: Expr, min: number, max: number): Expr => sequence(literal("["), separated(item, min, max), literal("]"));
/** An object with keys of the model's own. */
export const jsonMap = (value: Expr, min: number, max: number): Expr =>
  sequence(literal("{"), separated(sequence(jsonText(0, Infinity), colon, value), min, max), literal("}"));

export const jsonNumber: Expr = numberExpr({ low: undefined, high: undefined, lowExclusive: false, highExclusive: false })!;
export const jsonBoolean: Expr = choice(literal("true"), literal("false"));
export const jsonNull: Expr = literal("null");
/** Any JSON value. */
export const jsonValue: Expr = choice(jsonText(0, Infinity), jsonNumber, jsonBoolean, jsonNull, reference(() => jsonAnyArray), reference(() => jsonAnyObject));
const jsonAnyArray: Expr = jsonArray(jsonValue, 0, Infinity);
export const jsonAnyObject: Expr = jsonMap(jsonValue, 0, Infinity);
