import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { ChatTemplate } from "../../../src/model/chat-template.js";
import { grammarExpr, parseGrammar } from "../../../src/model/grammar/grammar.js";
import { CompiledGrammar, GrammarMatcher } from "../../../src/model/grammar/matcher.js";
import { TokenList } from "../../../src/model/grammar/token-list.js";
import { encode, endOfTurn, events, expectError, frontDoor, modelId, postChat, saying, ScriptedGenerator, smolModel, userSays } from "./support.js";

let model: ServedModel;
let tokens: TokenList;
beforeAll(async () => {
  model = await smolModel();
  tokens = new TokenList(model.assistant.tokenizer);
});

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));

/** Whether the grammar that was sent along takes this text as a whole answer. */
function takes(generator: ScriptedGenerator, text: string): boolean {
  const { root, stopTokens } = parseGrammar(generator.requests[0]!.sampling.grammar!);
  const matcher = new GrammarMatcher(new CompiledGrammar(grammarExpr(root), model.assistant.tokenizer, tokens, stopTokens, model.assistant.tokenizer.vocabSize));
  matcher.allowedAfter(encode(model, text));
  return matcher.complete;
}

const schema = { type: "object", properties: { city: { type: "string" }, degrees: { type: "integer", minimum: -90, maximum: 60 } }, required: ["city", "degrees"], additionalProperties: false };
const document = '{"city": "Paris", "degrees": 21}';
const jsonSchema = (own: object) => ({ response_format: { type: "json_schema", json_schema: { name: "weather", strict: true, schema: own } } });
const weather = { type: "function", function: { name: "get_weather", parameters: schema } };
const time = { type: "function", function: { name: "get_time" } };
const call = (name: string, values: string) => `<tool_call>\n{"name": "${name}", "arguments": ${values}}\n</tool_call>`;

describe("response_format", () => {
  it("sends a grammar of the schema along, and none where text is asked for", async () => {
    const generator = answering(document);
    const response = await postChat(frontDoor(model, generator), userSays("Weather?", jsonSchema(schema)));
    expect(response.json()).toMatchObject({ choices: [{ message: { content: document }, finish_reason: "stop" }] });
    expect([document, '{"city": "Paris"}', '{"city": "Paris", "degrees": 61}', "hi"].map((text) => takes(generator, text))).toEqual([true, false, false, false]);
    const text = answering("hi");
    await postChat(frontDoor(model, text), userSays("Hi", { response_format: { type: "text" } }));
    expect(text.requests[0]!.sampling.grammar).toBeUndefined();
  });

  it("takes any object for json_object, and patterns and choices by vLLM's field", async () => {
    const any = answering("{}");
    await postChat(frontDoor(model, any), userSays("Hi", { response_format: { type: "json_object" } }));
    expect(['{"a": [1, {"b": null}]}', "[1]"].map((text) => takes(any, text))).toEqual([true, false]);
    const regex = answering("ab");
    await postChat(frontDoor(model, regex), userSays("Hi", { structured_outputs: { regex: "(ab)+" } }));
    expect(["abab", "aba"].map((text) => takes(regex, text))).toEqual([true, false]);
    const choice = answering("yes");
    await postChat(frontDoor(model, choice), userSays("Hi", { structured_outputs: { choice: ["yes", "no"] } }));
    expect(["no", "maybe"].map((text) => takes(choice, text))).toEqual([true, false]);
    const grammar = answering("1+2");
    await postChat(frontDoor(model, grammar), userSays("Hi", { structured_outputs: { grammar: 'root ::= [0-9] ("+" [0-9])*' } }));
    expect(["1+2+3", "1+", "12"].map((text) => takes(grammar, text))).toEqual([true, false, false]);
  });

  it("is there for completions and for messages as well", async () => {
    const completion = answering("ab");
    await frontDoor(model, completion).inject({ method: "POST", url: "/v1/completions", payload: { model: modelId, prompt: "a", structured_outputs: { regex: "(ab)+" } } });
    expect(["abab", "aba"].map((text) => takes(completion, text))).toEqual([true, false]);
    const message = answering(document);
    const ask = { model: modelId, max_tokens: 50, messages: [{ role: "user", content: "Weather?" }], output_config: { format: { type: "json_schema", schema } } };
    await frontDoor(model, message).inject({ method: "POST", url: "/v1/messages", payload: ask });
    expect([document, "hi"].map((text) => takes(message, text))).toEqual([true, false]);
    const begun = await frontDoor(model, message).inject({ method: "POST", url: "/v1/messages", payload: { ...ask, messages: [...ask.messages, { role: "assistant", content: "{" }] } });
    expect([begun.statusCode, begun.json<{ error: { type: string } }>().error.type]).toEqual([400, "invalid_request_error"]);
  });

  it("reports a document that max_tokens cut as such, and never a broken one as finished", async () => {
    const cut = await postChat(frontDoor(model, answering(document)), userSays("Hi", { ...jsonSchema(schema), max_tokens: 4 }));
    expect(cut.json()).toMatchObject({ choices: [{ finish_reason: "length" }] });
    expectError(await postChat(frontDoor(model, answering('{"city": ')), userSays("Hi", jsonSchema(schema))), 500, "structured_output_failed", null);
    const streamed = await postChat(frontDoor(model, answering('{"city": ')), userSays("Hi", { ...jsonSchema(schema), stream: true }));
    expect(JSON.parse(events(streamed.text).at(-1)!)).toMatchObject({ error: { code: "structured_output_failed" } });
  });

  const refused: readonly (readonly [string, object, string])[] = [
    ["an unknown format", { response_format: { type: "xml" } }, "response_format.type"],
    ["a bad keyword deep in the schema", jsonSchema({ type: "object", properties: { a: { type: "array", items: { type: "string", not: {} } } } }), "response_format.json_schema.schema.properties.a.items.not"],
    ["a bad pattern in the schema", jsonSchema({ type: "string", pattern: "(?=a)" }), "response_format.json_schema.schema.pattern"],
    ["an alternative that overlaps", jsonSchema({ oneOf: [{ type: "string" }, { type: "string" }] }), "response_format.json_schema.schema.oneOf[1]"],
    ["a schema's name with a space", { response_format: { type: "json_schema", json_schema: { name: "a b", schema: {} } } }, "response_format.json_schema.name"],
    ["a schema too large to travel", jsonSchema({ enum: ["x".repeat(140_000)] }), "response_format.json_schema.schema"],
    ["a grammar that begins with itself", { structured_outputs: { grammar: 'root ::= root "a" | "b"' } }, "structured_outputs.grammar"],
    ["a bad pattern", { structured_outputs: { regex: "(" } }, "structured_outputs.regex"],
    ["two shapes at once", { structured_outputs: { regex: "a", choice: ["a"] } }, "structured_outputs"],
    ["a shape beside a format", { structured_outputs: { regex: "a" }, response_format: { type: "json_object" } }, "structured_outputs"],
  ];
  it.each(refused)("refuses %s by its path", async (_name, fields, param) => {
    expectError(await postChat(frontDoor(model, answering("x")), userSays("Hi", fields)), 400, "invalid_value", param);
  });
});

describe("tool calls that must be made", () => {
  it("are calls of the offered tools with arguments of their schemas, and nothing else", async () => {
    const generator = answering(call("get_weather", document));
    const response = await postChat(frontDoor(model, generator), userSays("Weather?", { tools: [weather, time], tool_choice: "required" }));
    expect(response.json()).toMatchObject({ choices: [{ message: { tool_calls: [{ function: { name: "get_weather", arguments: document } }] }, finish_reason: "tool_calls" }] });
    const both = `${call("get_weather", document)}\n${call("get_time", "{}")}`;
    expect([call("get_time", "{}"), both, call("get_weather", "{}"), call("other", "{}"), "hi"].map((text) => takes(generator, text))).toEqual([true, true, false, false, false]);
  });

  it("are one call where one is named or parallel calls are not wanted", async () => {
    const twice = `${call("get_time", "{}")}\n${call("get_time", "{}")}`;
    for (const fields of [{ tool_choice: { type: "function", function: { name: "get_time" } } }, { tool_choice: "required", parallel_tool_calls: false }]) {
      const generator = answering(call("get_time", "{}"));
      await postChat(frontDoor(model, generator), userSays("Time?", { tools: [weather, time], ...fields }));
      expect([call("get_time", "{}"), twice].map((text) => takes(generator, text))).toEqual([true, false]);
    }
  });

  it("may take the place of a document, and thoughts come before either", async () => {
    const generator = answering(document);
    await postChat(frontDoor(model, generator), userSays("Weather?", { tools: [time], ...jsonSchema(schema) }));
    expect([document, call("get_time", "{}"), "hi"].map((text) => takes(generator, text))).toEqual([true, true, false]);
    const template = new ChatTemplate(new Map([["default", "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n"]]), {}, "test");
    const thinking = answering(`Hm.</think>\n\n${document}`);
    await postChat(frontDoor({ ...model, assistant: { ...model.assistant, template } }, thinking), userSays("Weather?", jsonSchema(schema)));
    expect([`Hm.</think>\n\n${document}`, document].map((text) => takes(thinking, text))).toEqual([true, false]);
  });

  it("refuse a tool whose parameters no grammar can keep", async () => {
    const bad = { type: "function", function: { name: "f", parameters: { type: "object", properties: { a: { type: "string", pattern: "\\b" } } } } };
    expectError(await postChat(frontDoor(model, answering("x")), userSays("Hi", { tools: [time, bad], tool_choice: "required" })), 400, "invalid_value", "tools[1].function.parameters.properties.a.pattern");
    expect((await postChat(frontDoor(model, answering("x")), userSays("Hi", { tools: [bad] }))).status).toBe(200);
  });
});
