/** JSON schemas of all that structured output can keep, made up by chance: nested objects, arrays, bounds, patterns, alternatives. */

export function randomSchema(random: () => number, depth: number): Record<string, unknown> {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const count = (max: number) => Math.floor(random() * (max + 1));
  const kinds = ["integer", "number", "string", "pattern", "enum", "const", "boolean", "null", ...(depth > 0 ? ["object", "object", "array", "anyOf"] : [])];
  switch (pick(kinds)) {
    case "integer": { const low = count(2_000) - 1_000; return { type: "integer", ...(random() < 0.7 && { minimum: low }), ...(random() < 0.7 && { maximum: low + count(500) }) }; }
    case "number": { const low = (count(20_000) - 10_000) / pick([1, 10, 100, 1_000]); return { type: "number", ...(random() < 0.7 && { [pick(["minimum", "exclusiveMinimum"])]: low }), ...(random() < 0.7 && { [pick(["maximum", "exclusiveMaximum"])]: low + 1 + count(500) / 8 }) }; }
    case "string": { const min = count(5); return { type: "string", ...(random() < 0.5 && { minLength: min }), ...(random() < 0.5 && { maxLength: min + count(30) }) }; }
    case "pattern": return { type: "string", pattern: pick(["^[A-Z]{3}-\\d{2,4}$", "^(red|green|blue)( light)?$", "^[^\\s]{1,8}$", "ab*c", "^\\w+@\\w+\\.(com|org)$", '^["\\\\]+$']) };
    case "enum": return { enum: [pick(["a", 1, null]), pick(["b", 2.5, true]), { c: count(3) }] };
    case "const": return { const: pick<unknown>(["x", [1, "y"], { z: null }, -3]) };
    case "boolean": return { type: "boolean" };
    case "null": return { type: "null" };
    case "object": {
      const names = ["id", "name", "größe", "tags", 'qu"ote'].slice(0, 1 + count(4));
      return { type: "object", properties: Object.fromEntries(names.map((name) => [name, randomSchema(random, depth - 1)])), required: names.filter(() => random() < 0.6), ...(random() < 0.7 && { additionalProperties: false }) };
    }
    case "array": { const min = count(2); return { type: "array", items: randomSchema(random, depth - 1), minItems: min, ...(random() < 0.7 && { maxItems: min + count(2) }) }; }
    default: return { anyOf: [randomSchema(random, depth - 1), randomSchema(random, depth - 1)] };
  }
}
