import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Delta, type OutputParser, plainText } from "../../../../src/api/output/delta.js";
import { ReasoningParser } from "../../../../src/api/output/reasoning.js";
import { ToolCallParser, type ToolFormatName } from "../../../../src/api/output/tool-calls.js";

/** Cuts `text` at the given places. */
function pieces(text: string, cuts: readonly number[]): string[] {
  const at = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
  return at.slice(1).map((end, index) => text.slice(at[index], end));
}

function parse(parser: OutputParser, parts: readonly string[]) {
  const deltas = [...parts.flatMap((part) => parser.push(part)), ...parser.end()];
  const join = (kind: "content" | "reasoning") => deltas.filter((delta) => delta.kind === kind).map((delta) => (delta as { text: string }).text).join("");
  const calls = deltas.filter((delta): delta is Extract<Delta, { kind: "call" }> => delta.kind === "call").map(({ index, name }) => ({
    name,
    arguments: deltas.filter((delta): delta is Extract<Delta, { kind: "arguments" }> => delta.kind === "arguments" && delta.index === index).map((delta) => delta.text).join(""),
  }));
  return { content: join("content"), reasoning: join("reasoning"), calls };
}

const tools = (format: ToolFormatName) => {
  let count = 0;
  return new ToolCallParser(format, () => `id${count += 1}`);
};
const weather = { name: "weather", arguments: '{"city": "Paris", "nested": {"a": [1, "}"]}}' };
const time = { name: "time", arguments: "{}" };

const cases: readonly (readonly [string, ToolFormatName, string, { content: string; calls: readonly object[] }])[] = [
  ["a Hermes call alone", "hermes", `<tool_call>\n{"name": "weather", "arguments": ${weather.arguments}}\n</tool_call>`, { content: "", calls: [weather] }],
  ["text before Hermes calls, and two of them", "hermes", `Let me see.\n<tool_call>\n{"name": "weather", "arguments": ${weather.arguments}}\n</tool_call>\n<tool_call>{"arguments": {}, "name": "time"}</tool_call>`, { content: "Let me see.", calls: [weather, time] }],
  ["a call without arguments", "hermes", '<tool_call>{"name": "time"}</tool_call>', { content: "", calls: [time] }],
  ["arguments as a string of JSON", "hermes", `<tool_call>{"name": "weather", "arguments": ${JSON.stringify(weather.arguments)}}</tool_call>`, { content: "", calls: [weather] }],
  ["a brace too many, and text behind", "hermes", '<tool_call>{"name": "time", "arguments": {}}}\n</tool_call>\n\nDone. ', { content: "Done.", calls: [time] }],
  ["tags around what is no call", "hermes", "I write <tool_call> in prose ", { content: "I write <tool_call> in prose ", calls: [] }],
  ["tags around JSON that is no call", "hermes", 'x <tool_call>{"a": 1}</tool_call>', { content: 'x <tool_call>{"a": 1}</tool_call>', calls: [] }],
  ["text alone, blank end and all", "hermes", "just text <tool\n", { content: "just text <tool\n", calls: [] }],
  ["a call that is cut off", "hermes", '<tool_call>{"name": "weather", "arguments": {"city": "Pa', { content: "", calls: [{ name: "weather", arguments: '{"city": "Pa' }] }],
  ["a Mistral list", "mistral", `[TOOL_CALLS] [{"name": "weather", "arguments": ${weather.arguments}}, {"name": "time", "arguments": {}, "id": "123456789"}]`, { content: "", calls: [weather, time] }],
  ["a Llama call", "llama", `{"name": "weather", "parameters": ${weather.arguments}}`, { content: "", calls: [weather] }],
  ["Llama calls behind a tag", "llama", `<|python_tag|>{"type": "function", "name": "weather", "parameters": ${weather.arguments}}; {"name": "time", "parameters": {}}`, { content: "", calls: [weather, time] }],
  ["a Llama answer that begins like JSON", "llama", '{"a": 1} is an object', { content: '{"a": 1} is an object', calls: [] }],
  ["a Llama answer with an object inside", "llama", 'Use {"name": "x"} here', { content: 'Use {"name": "x"} here', calls: [] }],
  ["escapes in strings", "hermes", '<tool_call>{"name": "say", "arguments": {"text": "a \\"quoted\\" {brace} \\\\"}}</tool_call>', { content: "", calls: [{ name: "say", arguments: '{"text": "a \\"quoted\\" {brace} \\\\"}' }] }],
];

describe("ToolCallParser", () => {
  it.each(cases)("reads %s, however the text is cut", (_name, format, text, expected) => {
    expect(parse(tools(format), [text])).toEqual({ reasoning: "", ...expected });
    expect(parse(tools(format), Array.from(text))).toEqual({ reasoning: "", ...expected });
    fc.assert(fc.property(fc.array(fc.nat(500), { maxLength: 8 }), (cuts) => {
      expect(parse(tools(format), pieces(text, cuts))).toEqual({ reasoning: "", ...expected });
    }), { numRuns: 100 });
  });

  it("tells a call's name before its arguments are there, and the arguments as they come", () => {
    const parser = tools("hermes");
    expect(parser.push('<tool_call>{"name": "weather", ')).toEqual([{ kind: "call", index: 0, id: "id1", name: "weather" }]);
    expect(parser.push('"arguments": {"city":')).toEqual([{ kind: "arguments", index: 0, text: '{"city":' }]);
    expect(parser.push(' "Paris"}')).toEqual([{ kind: "arguments", index: 0, text: ' "Paris"}' }]);
    expect(parser.completeCalls).toBe(0);
    parser.push("}");
    expect(parser.completeCalls).toBe(1);
  });

  it("reads any text without tags unchanged", () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: fc.constantFrom("<", "tool_call", ">", "{", "}", '"', " ", "\n", "a") }), { maxLength: 8 }), (parts) => {
      fc.pre(!parts.join("").includes("<tool_call>"));
      expect(parse(tools("hermes"), parts).content).toBe(parts.join(""));
    }), { numRuns: 500 });
  });
});

const thinking: readonly (readonly [string, boolean, string, { content: string; reasoning: string }])[] = [
  ["thoughts and an answer", false, "<think>\nFirst, this.\n\nThen <b>that</b>.\n</think>\n\nThe answer.\n", { reasoning: "First, this.\n\nThen <b>that</b>.", content: "The answer.\n" }],
  ["thoughts that the prompt began", true, "So.\n</think>\n\nYes.", { reasoning: "So.", content: "Yes." }],
  ["empty thoughts", false, "<think>\n\n</think>\n\nYes.", { reasoning: "", content: "Yes." }],
  ["no thoughts", false, "Yes, <think> is a tag.</think>", { reasoning: "", content: "Yes, <think> is a tag.</think>" }],
  ["thoughts that do not end", false, "<think>on and on ", { reasoning: "on and on", content: "" }],
  ["the beginning of a tag alone", false, "<thi", { reasoning: "", content: "<thi" }],
];

describe("ReasoningParser", () => {
  it.each(thinking)("reads %s, however the text is cut", (_name, inside, text, expected) => {
    expect(parse(new ReasoningParser(inside, plainText), [text])).toEqual({ calls: [], ...expected });
    fc.assert(fc.property(fc.array(fc.nat(500), { maxLength: 8 }), (cuts) => {
      expect(parse(new ReasoningParser(inside, plainText), pieces(text, cuts))).toEqual({ calls: [], ...expected });
    }), { numRuns: 100 });
  });

  it("leaves the answer to the tool-call parser", () => {
    const text = '<think>I need the weather. <tool_call> maybe</think>\n<tool_call>{"name": "time", "arguments": {}}</tool_call>';
    expect(parse(new ReasoningParser(false, tools("hermes")), Array.from(text))).toEqual({ reasoning: "I need the weather. <tool_call> maybe", content: "", calls: [time] });
  });
});
