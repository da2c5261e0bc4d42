import { Ajv2020 } from "ajv/dist/2020.js";
import { beforeAll, describe, expect, it } from "vitest";
import { schemaExpr } from "../../../../src/model/grammar/json-schema.js";
import { SchemaError } from "../../../../src/model/grammar/schema-error.js";
import { chance } from "../../../support/chance.js";
import { randomSchema } from "../../../support/random-schema.js";
import { compiled, vocabulary, walk } from "./walk.js";

let words: Awaited<ReturnType<typeof vocabulary>>;
let ends: Set<number>;
beforeAll(async () => {
  words = await vocabulary();
  ends = new Set(['"', "}", "]", '"}', '"]', "}}", '",'].flatMap((text) => words.tokenizer.encode(text, false)));
});

/** Documents of a schema; those that did not end are left out. */
function documents(schema: unknown, count: number, seed: number): string[] {
  const grammar = compiled(schemaExpr(schema), words);
  const random = chance(seed);
  return Array.from({ length: count }, () => walk(grammar, random, ends, 300)).filter((tokens) => tokens !== undefined).map((tokens) => words.tokenizer.decode(tokens));
}

const ajv = new Ajv2020({ strict: false });
function expectValid(schema: object | boolean, texts: readonly string[]): void {
  const validate = ajv.compile(schema);
  for (const text of texts) {
    const value: unknown = JSON.parse(text);
    expect(validate(value), `${text} against ${JSON.stringify(schema)}: ${ajv.errorsText(validate.errors)}`).toBe(true);
  }
}

const schemas: readonly (readonly [string, object])[] = [
  ["an object with optional properties", { type: "object", properties: { a: { type: "integer" }, b: { type: "string" }, c: { type: "boolean" } }, required: ["b"], additionalProperties: false }],
  ["no property at all", { type: "object", additionalProperties: false }],
  ["a required property that is not named", { type: "object", properties: {}, required: ["x"], additionalProperties: { type: "null" } }],
  ["keys of the model's own", { type: "object", additionalProperties: { type: "integer", minimum: 0, maximum: 9 }, minProperties: 1 }],
  ["decimals within bounds", { type: "number", minimum: 0.5, maximum: 2.5 }],
  ["decimals without their bounds", { type: "number", exclusiveMinimum: 1, exclusiveMaximum: 2 }],
  ["negative decimals", { type: "number", minimum: -12.75, exclusiveMaximum: -0.125 }],
  ["very small and very large bounds", { type: "number", minimum: 1e-7, maximum: 1e21 }],
  ["integers across zero", { type: "integer", minimum: -120, maximum: 45 }],
  ["integers with one bound", { type: "integer", exclusiveMinimum: 998 }],
  ["integers with the other bound", { type: "integer", maximum: -7 }],
  ["multiples", { type: "integer", multipleOf: 7, minimum: 10, exclusiveMaximum: 70 }],
  ["arrays within bounds", { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 4 }],
  ["tuples", { type: "array", prefixItems: [{ type: "integer" }, { type: "null" }, { const: "x" }], items: false, minItems: 1 }],
  ["tuples with more behind", { type: "array", prefixItems: [{ type: "integer" }], items: { type: "boolean" }, minItems: 2, maxItems: 3 }],
  ["texts of a length", { type: "string", minLength: 3, maxLength: 5 }],
  ["long texts", { type: "string", minLength: 20, maxLength: 400 }],
  ["a pattern", { type: "string", pattern: "^[a-c]{2,4}(x|yy)?$" }],
  ["a pattern without an end", { type: "string", pattern: "^a\\d+b" }],
  ["a pattern with quotes and backslashes", { type: "string", pattern: '^"[\\\\"]{1,3}\\n\\t[^a-z]?$' }],
  ["a pattern beyond ASCII", { type: "string", pattern: "^[α-ω😀-😎\\u0416]{1,4}$" }],
  ["a pattern of alternatives", { type: "string", pattern: "^(?:cat|dog)$|^\\w{3}$" }],
  ["values of all types", { enum: ["x", 1, null, true, { a: [1] }, "ü\n"] }],
  ["values of one type", { type: "integer", enum: ["x", 1, 2] }],
  ["a constant", { const: { k: [1, 2] } }],
  ["alternatives", { anyOf: [{ type: "object", properties: { a: { const: 1 } }, required: ["a"] }, { type: "null" }] }],
  ["alternatives that exclude each other", { oneOf: [{ type: "object", properties: { kind: { const: "a" }, x: { type: "integer" } }, required: ["kind", "x"] }, { type: "object", properties: { kind: { const: "b" } }, required: ["kind"] }] }],
  ["several types", { type: ["string", "integer", "null"], maxLength: 4, minimum: 3 }],
  ["a list that refers to itself", { $ref: "#/$defs/node", $defs: { node: { type: "object", properties: { v: { type: "integer" }, next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } }, required: ["v", "next"], additionalProperties: false } } }],
  ["a tree that refers to its root", { type: "object", properties: { children: { type: "array", items: { $ref: "#" }, maxItems: 2 } }, additionalProperties: false }],
  ["anything", {}],
  ["names that must be escaped", { type: "object", properties: { 'a"b\\c': { type: "null" }, "é": { type: "null" } }, required: ['a"b\\c', "é"], additionalProperties: false }],
  ["what is implied by keywords", { properties: { a: { items: { minimum: 3 } } }, required: ["a"] }],
];

describe("schemaExpr", () => {
  it.each(schemas)("makes documents that are valid: %s", (_name, schema) => {
    const texts = documents(schema, 12, 7);
    expect(texts.length).toBeGreaterThan(2);
    expectValid(schema, texts);
  });

  it("keeps the formats it knows", () => {
    const shapes: Record<string, (text: string) => boolean> = {
      date: (text) => new Date(`${text}T00:00:00Z`).toISOString().startsWith(text),
      "date-time": (text) => !Number.isNaN(Date.parse(text)),
      uuid: (text) => /^[0-9a-f-]{36}$/u.test(text),
      ipv4: (text) => text.split(".").every((part) => Number(part) <= 255),
      email: (text) => /^\S+@\S+\.\S+$/u.test(text),
    };
    for (const [format, fits] of Object.entries(shapes)) {
      const texts = documents({ type: "string", format }, 8, 3);
      expect(texts.length, format).toBeGreaterThan(2);
      for (const text of texts) expect(fits(JSON.parse(text) as string), `${format}: ${text}`).toBe(true);
    }
  });

  it("makes valid documents of 40 random schemas", () => {
    const random = chance(2026);
    let finished = 0;
    for (let index = 0; index < 40; index += 1) {
      const schema = randomSchema(random, 3);
      const texts = documents(schema, 2, index);
      expectValid(schema, texts);
      finished += texts.length;
    }
    expect(finished).toBeGreaterThan(50);
  });

  const refused: readonly (readonly [string, unknown, readonly (string | number)[]])[] = [
    ["no schema", 5, []],
    ["false", { properties: { a: false } }, ["properties", "a"]],
    ["an unknown type", { properties: { a: { type: "text" } } }, ["properties", "a", "type"]],
    ["an unknown keyword", { type: "string", not: { const: "a" } }, ["not"]],
    ["a keyword of another type", { type: "string", minimum: 3 }, ["minimum"]],
    ["a condition", { if: {} }, ["if"]],
    ["unique items", { type: "array", uniqueItems: true }, ["uniqueItems"]],
    ["a foreign reference", { $ref: "https://example.com/x" }, ["$ref"]],
    ["a reference to nothing", { items: { $ref: "#/$defs/none" }, type: "array" }, ["items", "$ref"]],
    ["a circle of references", { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }, ["$ref"]],
    ["an empty list of values", { enum: [] }, ["enum"]],
    ["values of another type", { type: "string", enum: [1] }, ["enum"]],
    ["an empty range", { type: "integer", minimum: 3, maximum: 2 }, []],
    ["no integer between", { type: "integer", exclusiveMinimum: 2, exclusiveMaximum: 3 }, []],
    ["text for a bound", { type: "integer", minimum: "3" }, ["minimum"]],
    ["fewer items than none", { type: "array", minItems: -1 }, ["minItems"]],
    ["bounds out of order", { type: "array", minItems: 3, maxItems: 2 }, ["maxItems"]],
    ["a lookahead", { type: "string", pattern: "(?=a)b" }, ["pattern"]],
    ["a back reference", { type: "string", pattern: "(a)\\1" }, ["pattern"]],
    ["an open group", { type: "string", pattern: "(a" }, ["pattern"]],
    ["a pattern with a length", { type: "string", pattern: "a", maxLength: 3 }, ["maxLength"]],
    ["oneOf that overlaps", { oneOf: [{ type: "integer" }, { type: "number" }] }, ["oneOf", 1]],
    ["allOf of two", { allOf: [{ type: "object" }, { required: ["a"] }] }, ["allOf"]],
    ["keywords beside anyOf", { anyOf: [{ type: "string" }], required: ["a"] }, ["required"]],
    ["patternProperties", { type: "object", patternProperties: { a: {} } }, ["patternProperties"]],
    ["a required property that cannot be", { type: "object", required: ["a"], additionalProperties: false }, ["required"]],
    ["more properties than required", { type: "object", properties: { a: {} }, minProperties: 1 }, ["minProperties"]],
    ["endless nesting", Array.from({ length: 200 }, () => 0).reduce<object>((inner) => ({ type: "array", items: inner }), {}), Array.from({ length: 129 }, () => "items")],
  ];
  it.each(refused)("refuses %s by its path", (_name, schema, path) => {
    let thrown: unknown;
    try { schemaExpr(schema); } catch (error) { thrown = error; }
    expect(thrown).toBeInstanceOf(SchemaError);
    expect((thrown as SchemaError).path).toEqual(path);
  });
});
