/**
 * JSON Schema (2020-12, what generated schemas use of it) as a grammar: every text of the grammar is a document that the schema
 * accepts. The reverse need not hold: of what the schema leaves open, the grammar takes the simplest (properties in their order,
 * none that is not named).
 *
 * A keyword that the grammar cannot keep is refused by its path, never passed over; annotations are.
 */
import { type Expr, choice, literal, optional, reference, repeat, sequence } from "./expr.js";
import { formatPatterns } from "./formats.js";
import { colon, comma, jsonAnyObject, jsonArray, jsonBoolean, jsonCharacter, jsonLiteral, jsonMap, jsonNull, jsonString, jsonText, jsonValue } from "./json.js";
import { type Bounds, integerExpr, numberExpr } from "./numbers.js";
import { regexExpr, UnsupportedRegex } from "./regex.js";
import { SchemaError } from "./schema-error.js";

type Path = readonly (string | number)[];
type Schema = Readonly<Record<string, unknown>>;

const nodesMax = 5_000;
const nestingMax = 64;
const enumMax = 2_000;
const countMax = 100_000;

const annotations: ReadonlySet<string> = new Set(["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "discriminator", "contentEncoding", "contentMediaType"]);
/** Keywords of each type, besides `type` itself. */
const keywords: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties", "unevaluatedProperties", "minProperties", "maxProperties"],
  array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "unevaluatedItems"],
  string: ["pattern", "format", "minLength", "maxLength"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  boolean: [],
  null: [],
};
const typeNames = Object.keys(keywords);
const combining: ReadonlySet<string> = new Set(["$ref", "anyOf", "oneOf", "allOf", "enum", "const"]);

/** @throws SchemaError */
export function schemaExpr(schema: unknown): Expr {
  return new SchemaCompiler(schema).compile();
}

class SchemaCompiler {
  readonly #root: unknown;
  readonly #references = new Map<string, { expr: Expr | undefined }>();
  #nodes = 0;

  constructor(root: unknown) { this.#root = root; }

  compile(): Expr { return this.#schema(this.#root, []); }

  #schema(schema: unknown, path: Path): Expr {
    this.#nodes += 1;
    if (this.#nodes > nodesMax) throw new SchemaError(path, `the schema has more than ${nodesMax} parts`);
    if (path.length > nestingMax * 2) throw new SchemaError(path, "the schema is nested too deeply");
    if (schema === true) return jsonValue;
    if (schema === false) throw new SchemaError(path, "nothing satisfies `false`");
    if (!isObject(schema)) throw new SchemaError(path, "a schema is an object or a boolean");
    this.#checkKeywords(schema, path);
    if ("$ref" in schema) return this.#reference(schema, path);
    if ("const" in schema) return this.#constant([schema["const"]], schema, [...path, "const"]);
    if ("enum" in schema) return this.#enumeration(schema, path);
    for (const key of ["anyOf", "oneOf"] as const) if (key in schema) return this.#alternatives(schema, key, path);
    if ("allOf" in schema) return this.#single(schema, path);
    return choice(...this.#types(schema, path).map((type) => this.#typed(type, schema, path)));
  }

  /** Every keyword is either kept or an annotation. */
  #checkKeywords(schema: Schema, path: Path): void {
    const combined = Object.keys(schema).find((key) => combining.has(key));
    const known = new Set(combined === undefined ? this.#types(schema, path).flatMap((type) => keywords[type]!) : [combined]);
    for (const key of Object.keys(schema)) {
      if (annotations.has(key) || known.has(key)) continue;
      if (key === "type" && (combined === undefined || combined === "enum" || combined === "const")) continue;
      if (combined !== undefined) throw new SchemaError([...path, key], `'${key}' beside '${combined}' is not supported`);
      throw new SchemaError([...path, key], Object.values(keywords).some((names) => names.includes(key)) ? `'${key}' does not belong to the type` : `the keyword '${key}' is not supported`);
    }
  }

  /** `type`, or what the other keywords speak of, or all. */
  #types(schema: Schema, path: Path): readonly string[] {
    const { type } = schema;
    if (type === undefined) {
      const implied = ["object", "array", "string", "number"].filter((name) => keywords[name]!.some((key) => key in schema));
      return implied.length === 1 ? implied : typeNames.filter((name) => name !== "integer");
    }
    const names = Array.isArray(type) ? type as unknown[] : [type];
    if (names.length === 0) throw new SchemaError([...path, "type"], "it names no type");
    return names.map((name) => {
      if (typeof name === "string" && typeNames.includes(name)) return name;
      throw new SchemaError([...path, "type"], `it is none of ${typeNames.join(", ")}`);
    });
  }

  #typed(type: string, schema: Schema, path: Path): Expr {
    switch (type) {
      case "object": return this.#object(schema, path);
      case "array": return this.#array(schema, path);
      case "string": return this.#string(schema, path);
      case "integer": case "number": return this.#number(type, schema, path);
      case "boolean": return jsonBoolean;
      default: return jsonNull;
    }
  }

  #reference(schema: Schema, path: Path): Expr {
    const at = [...path, "$ref"];
    const pointer = schema["$ref"];
    if (typeof pointer !== "string" || !/^#(\/|$)/u.test(pointer)) throw new SchemaError(at, "only references within the schema are possible: '#/$defs/…'");
    const known = this.#references.get(pointer);
    if (known) return reference(() => this.#resolved(known, at));
    const entry: { expr: Expr | undefined } = { expr: undefined };
    this.#references.set(pointer, entry);
    const keys = pointer.split("/").slice(1).map((key) => decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~"));
    let target: unknown = this.#root;
    for (const key of keys) target = isObject(target) || Array.isArray(target) ? (target as Schema)[key] : undefined;
    if (target === undefined) throw new SchemaError(at, `there is nothing at ${pointer.slice(0, 100)}`);
    if (isObject(target) && "$ref" in target && this.#leadsBack(target, pointer)) throw new SchemaError(at, "the references go round in a circle");
    entry.expr = this.#schema(target, keys);
    return entry.expr;
  }

  /** Follows references that refer to nothing but references. */
  #leadsBack(schema: Schema, origin: string): boolean {
    let current: unknown = schema;
    for (let steps = 0; isObject(current) && typeof current["$ref"] === "string"; steps += 1) {
      if (current["$ref"] === origin || steps > nestingMax) return true;
      let target: unknown = this.#root;
      for (const key of current["$ref"].split("/").slice(1)) target = isObject(target) ? target[key] : undefined;
      current = target;
    }
    return false;
  }

  #resolved(entry: { readonly expr: Expr | undefined }, path: Path): Expr {
    if (entry.expr === undefined) throw new SchemaError(path, "the reference could not be followed");
    return entry.expr;
  }

  #constant(values: readonly unknown[], schema: Schema, path: Path): Expr {
    const types = "type" in schema ? this.#types(schema, path.slice(0, -1)) : undefined;
    const fitting = values.filter((value) => types === undefined || types.some((type) => isOfType(value, type)));
    if (fitting.length === 0) throw new SchemaError(path, "none of its values is of the type");
    return choice(...fitting.map(jsonLiteral));
  }

  #enumeration(schema: Schema, path: Path): Expr {
    const values = schema["enum"];
    if (!Array.isArray(values) || values.length === 0) throw new SchemaError([...path, "enum"], "it is not a list with at least one value");
    if (values.length > enumMax) throw new SchemaError([...path, "enum"], `it has more than ${enumMax} values`);
    return this.#constant(values, schema, [...path, "enum"]);
  }

  #alternatives(schema: Schema, key: "anyOf" | "oneOf", path: Path): Expr {
    const arms = schema[key];
    if (!Array.isArray(arms) || arms.length === 0) throw new SchemaError([...path, key], "it is not a list with at least one schema");
    if (key === "oneOf") this.#checkDisjoint(arms, [...path, key]);
    return choice(...arms.map((arm, index) => this.#schema(arm, [...path, key, index])));
  }

  /** What satisfies two of `oneOf` is refused by it: so they must not overlap. Types, constants or a property with constants tell them apart. */
  #checkDisjoint(arms: readonly unknown[], path: Path): void {
    const marks = arms.map((arm) => this.#marks(arm));
    for (let second = 1; second < arms.length; second += 1) {
      for (let first = 0; first < second; first += 1) {
        const [a, b] = [marks[first]!, marks[second]!];
        if (!Object.keys(a).some((key) => b[key] !== undefined && !a[key]!.some((value) => b[key]!.includes(value)))) {
          throw new SchemaError([...path, second], `it may overlap with alternative ${first}: use anyOf, different types, or a property with a constant of its own`);
        }
      }
    }
  }

  /** What a schema fixes of its documents: each key maps to the only values possible. */
  #marks(schema: unknown): Record<string, readonly string[]> {
    if (!isObject(schema)) return {};
    if (typeof schema["$ref"] === "string") {
      let target: unknown = this.#root;
      for (const key of schema["$ref"].split("/").slice(1)) target = isObject(target) ? target[key] : undefined;
      return isObject(target) && !("$ref" in target) ? this.#marks(target) : {};
    }
    const marks: Record<string, readonly string[]> = {};
    const constants = "const" in schema ? [schema["const"]] : Array.isArray(schema["enum"]) ? schema["enum"] as unknown[] : undefined;
    if (constants) marks["value"] = constants.map((value) => JSON.stringify(value));
    const types = constants ? constants.map(typeOf) : "type" in schema ? [schema["type"]].flat() : undefined;
    if (types) marks["type"] = types.flatMap((type) => type === "number" ? ["number", "integer"] : [String(type)]);
    const required = Array.isArray(schema["required"]) ? schema["required"] as unknown[] : [];
    const properties = isObject(schema["properties"]) ? schema["properties"] : {};
    for (const [name, property] of Object.entries(properties)) {
      if (!required.includes(name) || !isObject(property)) continue;
      const fixed = "const" in property ? [property["const"]] : Array.isArray(property["enum"]) ? property["enum"] as unknown[] : undefined;
      if (fixed) marks[`property ${name}`] = fixed.map((value) => JSON.stringify(value));
    }
    return marks;
  }

  #single(schema: Schema, path: Path): Expr {
    const parts = schema["allOf"];
    if (!Array.isArray(parts) || parts.length !== 1) throw new SchemaError([...path, "allOf"], "only allOf with a single schema is supported");
    return this.#schema(parts[0], [...path, "allOf", 0]);
  }

  #object(schema: Schema, path: Path): Expr {
    const properties = schema["properties"] ?? {};
    const required = schema["required"] ?? [];
    if (!isObject(properties)) throw new SchemaError([...path, "properties"], "it is not an object");
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string")) throw new SchemaError([...path, "required"], "it is not a list of names");
    const others = schema["additionalProperties"] ?? schema["unevaluatedProperties"] ?? true;
    const named: [string, Expr, boolean][] = Object.entries(properties).map(([name, property]) => [name, this.#schema(property, [...path, "properties", name]), required.includes(name)]);
    for (const name of required as string[]) {
      if (Object.hasOwn(properties, name)) continue;
      if (others === false) throw new SchemaError([...path, "required"], `'${name}' is required but not among the properties`);
      named.push([name, this.#schema(others, [...path, "additionalProperties"]), true]);
    }
    const min = this.#count(schema, "minProperties", path) ?? 0;
    const max = this.#count(schema, "maxProperties", path) ?? Infinity;
    if (named.length === 0) return this.#map(others, min, max, path);
    const requiredCount = named.filter(([, , isRequired]) => isRequired).length;
    if (min > requiredCount) throw new SchemaError([...path, "minProperties"], "it asks for more properties than are required: name those in 'required'");
    if (max < requiredCount) throw new SchemaError([...path, "maxProperties"], "it allows fewer properties than are required");
    const kept = max < named.length ? named.filter(([, , isRequired]) => isRequired) : named;
    return sequence(literal("{"), members(kept), literal("}"));
  }

  /** Keys of the model's own: it may repeat one, so no more than one can be asked for. */
  #map(values: unknown, min: number, max: number, path: Path): Expr {
    if (min > 1) throw new SchemaError([...path, "minProperties"], "more than 1 is not supported without properties by name");
    if (min > max) throw new SchemaError([...path, "maxProperties"], "it is less than minProperties");
    if (values === false) {
      if (min > 0) throw new SchemaError([...path, "minProperties"], "no property is allowed");
      return literal("{}");
    }
    return values === true && min === 0 && max === Infinity ? jsonAnyObject : jsonMap(this.#schema(values, [...path, "additionalProperties"]), min, max);
  }

  #array(schema: Schema, path: Path): Expr {
    const min = this.#count(schema, "minItems", path) ?? 0;
    const max = this.#count(schema, "maxItems", path) ?? Infinity;
    if (min > max) throw new SchemaError([...path, "maxItems"], "it is less than minItems");
    const leading = schema["prefixItems"] ?? [];
    if (!Array.isArray(leading)) throw new SchemaError([...path, "prefixItems"], "it is not a list of schemas");
    const rest = schema["items"] ?? schema["additionalItems"] ?? schema["unevaluatedItems"] ?? true;
    const restKey = "items" in schema ? "items" : "additionalItems";
    const none = rest === false || max <= leading.length;
    if (none && min > leading.length) throw new SchemaError([...path, "minItems"], "it asks for more items than are possible");
    const item = none ? undefined : this.#schema(rest, [...path, restKey]);
    if (leading.length === 0) return item === undefined ? literal("[]") : jsonArray(item, min, max);
    let tail: Expr = item === undefined ? sequence() : repeat(sequence(comma, item), Math.max(0, min - leading.length), max - leading.length);
    for (let index = leading.length - 1; index >= 0; index -= 1) {
      if (index >= max) { tail = sequence(); continue; }
      const here = sequence(...(index > 0 ? [comma] : []), this.#schema(leading[index], [...path, "prefixItems", index]), tail);
      tail = index < min ? here : optional(here);
    }
    return sequence(literal("["), tail, literal("]"));
  }

  #string(schema: Schema, path: Path): Expr {
    const min = this.#count(schema, "minLength", path) ?? 0;
    const max = this.#count(schema, "maxLength", path) ?? Infinity;
    if (min > max) throw new SchemaError([...path, "maxLength"], "it is less than minLength");
    const { pattern, format } = schema;
    if (pattern !== undefined && typeof pattern !== "string") throw new SchemaError([...path, "pattern"], "it is not a string");
    if (format !== undefined && typeof format !== "string") throw new SchemaError([...path, "format"], "it is not a string");
    const key = pattern === undefined ? "format" : "pattern";
    const regex = pattern ?? (format === undefined ? undefined : formatPatterns.get(format));
    if (regex === undefined) return jsonText(min, max);
    if (min > 0 || max < Infinity || (pattern !== undefined && format !== undefined && formatPatterns.has(format))) {
      throw new SchemaError([...path, min > 0 ? "minLength" : max < Infinity ? "maxLength" : "format"], `together with '${key}' it is not supported: write it into the pattern`);
    }
    try {
      return jsonString(regexExpr(regex, jsonCharacter, true));
    } catch (thrown) {
      if (thrown instanceof UnsupportedRegex) throw new SchemaError([...path, key], `the pattern is not supported, ${thrown.message}`);
      throw thrown;
    }
  }

  #number(type: "integer" | "number", schema: Schema, path: Path): Expr {
    const bound = (key: string): number | undefined => {
      const value = schema[key];
      if (value === undefined) return undefined;
      if (typeof value !== "number") throw new SchemaError([...path, key], "it is not a number");
      return value;
    };
    const [low, lowOut, high, highOut] = [bound("minimum"), bound("exclusiveMinimum"), bound("maximum"), bound("exclusiveMaximum")];
    const lowExclusive = lowOut !== undefined && (low === undefined || lowOut >= low);
    const highExclusive = highOut !== undefined && (high === undefined || highOut <= high);
    const bounds: Bounds = { low: lowExclusive ? lowOut : low, high: highExclusive ? highOut : high, lowExclusive, highExclusive };
    const step = bound("multipleOf");
    const expr = step === undefined ? (type === "integer" ? integerExpr(bounds) : numberExpr(bounds)) : this.#multiples(step, bounds, path);
    if (expr === undefined) throw new SchemaError(path, `no ${type} is within its bounds`);
    return expr;
  }

  #multiples(step: number, { low, high, lowExclusive, highExclusive }: Bounds, path: Path): Expr {
    const at = [...path, "multipleOf"];
    if (!Number.isInteger(step) || step < 1) throw new SchemaError(at, "only whole numbers above 0 are supported");
    if (step === 1) return integerExpr({ low, high, lowExclusive, highExclusive }) ?? choice();
    if (low === undefined || high === undefined) throw new SchemaError(at, "it needs 'minimum' and 'maximum'");
    const first = Math.ceil((lowExclusive ? low + Number.EPSILON * Math.abs(low) : low) / step);
    const values: number[] = [];
    for (let factor = first; factor * step <= high; factor += 1) {
      const value = factor * step;
      if ((lowExclusive && value <= low) || (highExclusive && value >= high)) continue;
      values.push(value);
      if (values.length > enumMax) throw new SchemaError(at, `there are more than ${enumMax} such numbers within the bounds`);
    }
    if (values.length === 0) throw new SchemaError(at, "no such number is within the bounds");
    return choice(...values.map(jsonLiteral));
  }

  #count(schema: Schema, key: string, path: Path): number | undefined {
    const value = schema[key];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) throw new SchemaError([...path, key], "it is not a whole number from 0 on");
    if (value > countMax) throw new SchemaError([...path, key], `more than ${countMax} is not supported`);
    return value;
  }
}

/** Properties in their order; those not required may be left out. */
function members(properties: readonly (readonly [string, Expr, boolean])[]): Expr {
  /** What may follow when something stands before, and when nothing does. */
  let [more, first]: [Expr, Expr] = [sequence(), sequence()];
  for (const [name, value, required] of properties.toReversed()) {
    const member = sequence(jsonLiteral(name), colon, value);
    const [after, afterFirst] = [more, first];
    const withComma = sequence(comma, member, after);
    const leading = sequence(member, after);
    more = required ? withComma : choice(withComma, after);
    first = required ? leading : choice(leading, afterFirst);
  }
  return first;
}

const isObject = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);

const typeOf = (value: unknown): string => value === null ? "null" : Array.isArray(value) ? "array" : typeof value === "number" ? (Number.isInteger(value) ? "integer" : "number") : typeof value;
const isOfType = (value: unknown, type: string): boolean => typeOf(value) === type || (type === "number" && typeof value === "number");

