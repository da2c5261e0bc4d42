import { beforeAll, describe, expect, it } from "vitest";
import type { FastifyInstance } from "fastify";
import { catalogue } from "../../../src/core/errors.js";
import { expectError, frontDoor, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

const generator = new ScriptedGenerator(saying([2]));
let server: FastifyInstance;
beforeAll(async () => { server = frontDoor(await smolModel(), generator); });

const user = { role: "user", content: "Hi" };
/** A good request with one thing changed. */
const but = (changes: object) => ({ model: modelId, messages: [user], ...changes });
const message = (changes: object) => but({ messages: [user, changes] });

type Code = keyof typeof catalogue;
const missing: Code = "missing_required_parameter";
const invalid: Code = "invalid_value";
const unknown: Code = "unknown_parameter";

/** What is sent, the code and the param that come back, and a word that the message must contain. */
const table: readonly (readonly [string, object, Code, string | null, string])[] = [
  ["an array for a body", [], invalid, null, "object"],
  ["nothing", {}, missing, "model", "model"],
  ["no messages", { model: modelId }, missing, "messages", "messages"],
  ["a number for a model", but({ model: 5 }), invalid, "model", "string"],
  ["an empty model", but({ model: "" }), invalid, "model", "at least 1"],
  ["null for a model", but({ model: null }), invalid, "model", "null"],
  ["an unknown model", but({ model: "gpt-9" }), "model_not_found", "model", "gpt-9"],
  ["no messages in the list", but({ messages: [] }), invalid, "messages", "at least 1"],
  ["text for messages", but({ messages: "Hi" }), invalid, "messages", "array"],
  ["null among the messages", but({ messages: [null] }), invalid, "messages[0]", "null"],
  ["too many messages", but({ messages: Array.from({ length: 2_049 }, () => user) }), invalid, "messages", "2048"],
  ["an unknown role", message({ role: "robot", content: "Hi" }), invalid, "messages[1].role", "'robot'"],
  ["no role", message({ content: "Hi" }), missing, "messages[1].role", "role"],
  ["a number for a role", message({ role: 7, content: "Hi" }), invalid, "messages[1].role", "7"],
  ["no content", message({ role: "user" }), missing, "messages[1].content", "content"],
  ["null for a user's content", message({ role: "user", content: null }), invalid, "messages[1].content", "null"],
  ["a number for content", message({ role: "user", content: 3 }), invalid, "messages[1].content", "string or an array"],
  ["no parts", message({ role: "user", content: [] }), invalid, "messages[1].content", "at least 1"],
  ["an image", message({ role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }] }), "unsupported_parameter", "messages[1].content[0].type", "image"],
  ["an unknown part", message({ role: "user", content: [{ type: "smell" }] }), invalid, "messages[1].content[0].type", "'smell'"],
  ["a part without text", message({ role: "user", content: [{ type: "text" }] }), missing, "messages[1].content[0].text", "text"],
  ["a tool message that answers nothing", message({ role: "tool", content: "4" }), missing, "messages[1].tool_call_id", "tool_call_id"],
  ["a tool call without a name", message({ role: "assistant", tool_calls: [{ id: "1", type: "function", function: { arguments: "{}" } }] }), missing, "messages[1].tool_calls[0].function.name", "name"],
  ["a hot temperature", but({ temperature: "hot" }), invalid, "temperature", "expected a number, but got a string"],
  ["a temperature below 0", but({ temperature: -0.1 }), invalid, "temperature", "-0.1"],
  ["a temperature above 2", but({ temperature: 2.1 }), invalid, "temperature", "2.1"],
  ["top_p above 1", but({ top_p: 1.5 }), invalid, "top_p", "1.5"],
  ["top_k below -1", but({ top_k: -2 }), invalid, "top_k", "-2"],
  ["a fraction for top_k", but({ top_k: 1.5 }), invalid, "top_k", "integer"],
  ["min_p above 1", but({ min_p: 2 }), invalid, "min_p", "2"],
  ["a repetition penalty of 0", but({ repetition_penalty: 0 }), invalid, "repetition_penalty", "0"],
  ["a frequency penalty above 2", but({ frequency_penalty: 3 }), invalid, "frequency_penalty", "3"],
  ["a presence penalty below -2", but({ presence_penalty: -3 }), invalid, "presence_penalty", "-3"],
  ["negative max_tokens", but({ max_tokens: -1 }), invalid, "max_tokens", "-1"],
  ["no max_tokens at all", but({ max_tokens: 0 }), invalid, "max_tokens", "0"],
  ["a fraction for max_tokens", but({ max_tokens: 1.5 }), invalid, "max_tokens", "integer"],
  ["text for max_completion_tokens", but({ max_completion_tokens: "9" }), invalid, "max_completion_tokens", "string"],
  ["a number for stop", but({ stop: 5 }), invalid, "stop", "string or an array"],
  ["an empty stop string", but({ stop: "" }), invalid, "stop", "at least 1"],
  ["an empty stop string in a list", but({ stop: ["a", ""] }), invalid, "stop[1]", "at least 1"],
  ["five stop strings", but({ stop: ["a", "b", "c", "d", "e"] }), invalid, "stop", "at most 4"],
  ["half a character as stop string", but({ stop: "\uD800" }), invalid, "stop", "surrogate"],
  ["a fraction for a seed", but({ seed: 0.5 }), invalid, "seed", "integer"],
  ["text for a seed", but({ seed: "lucky" }), invalid, "seed", "string"],
  ["a word in logit_bias", but({ logit_bias: { hello: 1 } }), invalid, "logit_bias.hello", "hello"],
  ["a bias above 100", but({ logit_bias: { 1: 101 } }), invalid, "logit_bias.1", "101"],
  ["a bias on a token that is none", but({ logit_bias: { 49152: 1 } }), invalid, "logit_bias.49152", "49152"],
  ["a list for logit_bias", but({ logit_bias: [1] }), invalid, "logit_bias", "array"],
  ["text for stream", but({ stream: "yes" }), invalid, "stream", "boolean"],
  ["an unknown stream option", but({ stream: true, stream_options: { include_all: true } }), unknown, "stream_options.include_all", "include_all"],
  ["n of 0", but({ n: 0 }), invalid, "n", "0"],
  ["n of 17", but({ n: 17 }), invalid, "n", "17"],
  ["a number for logprobs", but({ logprobs: 3 }), invalid, "logprobs", "boolean"],
  ["21 alternatives", but({ logprobs: true, top_logprobs: 21 }), invalid, "top_logprobs", "20"],
  ["alternatives without logprobs", but({ top_logprobs: 2 }), invalid, "top_logprobs", "logprobs"],
  ["an object for tools", but({ tools: {} }), invalid, "tools", "array"],
  ["a tool of another type", but({ tools: [{ type: "web_search" }] }), invalid, "tools[0].type", "function"],
  ["a tool without a function", but({ tools: [{ type: "function" }] }), missing, "tools[0].function", "function"],
  ["a tool without a name", but({ tools: [{ type: "function", function: {} }] }), missing, "tools[0].function.name", "name"],
  ["a tool's name with a space", but({ tools: [{ type: "function", function: { name: "get weather" } }] }), invalid, "tools[0].function.name", "letters"],
  ["text for a tool's parameters", but({ tools: [{ type: "function", function: { name: "f", parameters: "x" } }] }), invalid, "tools[0].function.parameters", "string"],
  ["129 tools", but({ tools: Array.from({ length: 129 }, (_, index) => ({ type: "function", function: { name: `f${index}` } })) }), invalid, "tools", "128"],
  ["an unknown tool choice", but({ tool_choice: "maybe" }), invalid, "tool_choice", "'required'"],
  ["a tool choice without tools", but({ tool_choice: "required" }), invalid, "tool_choice", "tools"],
  ["a choice of a tool that is not there", but({ tool_choice: { type: "function", function: { name: "g" } }, tools: [{ type: "function", function: { name: "f" } }] }), invalid, "tool_choice", "'g'"],
  ["text for parallel_tool_calls", but({ parallel_tool_calls: "no" }), invalid, "parallel_tool_calls", "boolean"],
  ["an unknown reasoning effort", but({ reasoning_effort: "huge" }), invalid, "reasoning_effort", "'huge'"],
  ["a template variable of the server's", but({ chat_template_kwargs: { messages: [] } }), invalid, "chat_template_kwargs.messages", "messages"],
  ["sound for an answer", but({ modalities: ["audio"] }), invalid, "modalities[0]", "text"],
  ["a misspelt parameter", but({ temprature: 1 }), unknown, "temprature", "temprature"],
];

describe("bad input to /v1/chat/completions", () => {
  it.each(table)("refuses %s", async (_name, payload, code, param, word) => {
    const response = await server.inject({ method: "POST", url: "/v1/chat/completions", payload });
    expectError({ status: response.statusCode, json: () => response.json() }, catalogue[code].http, code, param);
    const { error } = response.json<{ error: { message: string; type: string } }>();
    expect(error.message).toContain(word);
    expect(error.type).toBe(catalogue[code].type);
    expect(response.headers["x-should-retry"]).toBe("false");
  });

  it("refuses a timeout header that is no number of seconds", async () => {
    for (const timeout of ["soon", "-1", "0", "1e9"]) {
      const response = await server.inject({ method: "POST", url: "/v1/chat/completions", headers: { timeout }, payload: but({}) });
      expectError({ status: response.statusCode, json: () => response.json() }, 400, invalid, "timeout");
    }
  });

  const raw = async (body: string, contentType = "application/json") => {
    const response = await server.inject({ method: "POST", url: "/v1/chat/completions", headers: { "content-type": contentType }, payload: body });
    return { status: response.statusCode, json: () => response.json() };
  };

  it("refuses what is not JSON", async () => {
    for (const body of ["{", "{'model': 1}", "", "\u0000", '{"model": "a"} more', '{"__proto__": {"a": 1}}']) expectError(await raw(body), 400, "invalid_json", null);
    expectError(await raw("null"), 400, invalid, null);
  });

  it("refuses a body that is not announced as JSON, as a foreign web page would send it", async () => {
    const body = JSON.stringify(but({}));
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"]) expectError(await raw(body, type), 415, "unsupported_media_type", null);
    const untyped = await server.inject({ method: "POST", url: "/v1/chat/completions", payload: Buffer.from(body) });
    expectError({ status: untyped.statusCode, json: () => untyped.json() }, 415, "unsupported_media_type", null);
  });

  it("does not hand any of it to the generator", () => { expect(generator.requests).toEqual([]); });

  it("accepts OpenAI's fields that have no effect here", async () => {
    const response = await server.inject({ method: "POST", url: "/v1/chat/completions", payload: but({ user: "me", metadata: { a: "b" }, store: true, service_tier: "auto", safety_identifier: "x", prompt_cache_key: "y", n: 1, messages: [{ ...user, name: "Ann", annotations: [] }] }) });
    expect(response.statusCode).toBe(200);
  });
});
