/**
 * Requests that no client should send, to every endpoint, and what each is told: the code, the field, and a word that the message
 * must contain. They are put to the front door alone (test/unit) and to a real node beside a stream (test/integration).
 */
import { catalogue, type ErrorCode } from "../../src/core/errors.js";

export interface BadRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly url: string;
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Text goes out as it is, everything else as JSON. */
  readonly body: unknown;
  readonly status: number;
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly word: string;
}

/** Body changes, code, param, and the word, which is the field's name unless it is given. */
type Row = readonly [name: string, changes: object, code: ErrorCode, param: string | null, word?: string];

const missing = "missing_required_parameter";
const invalid = "invalid_value";
const unknown = "unknown_parameter";
const unsupported = "unsupported_parameter";

const hi = { role: "user", content: "Hi" };
const user = (content: unknown) => ({ role: "user", content });
/** A conversation of which the second message is wrong. */
const message = (changes: object) => ({ messages: [hi, changes] });
const schema = (own: unknown) => ({ response_format: { type: "json_schema", json_schema: { name: "x", schema: own } } });
const inSchema = "response_format.json_schema.schema";
const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);
/** More than the embedded model's context. */
const long = "a ".repeat(9_000);

const chat: readonly Row[] = [
  ["an array for a body", [], invalid, null, "object"],
  ["no model", { model: undefined }, missing, "model", "model"],
  ["no messages", { messages: undefined }, missing, "messages", "messages"],
  ["a number for a model", { model: 5 }, invalid, "model", "string"],
  ["an empty model", { model: "" }, invalid, "model", "at least 1"],
  ["null for a model", { model: null }, invalid, "model", "null"],
  ["an unknown model", { model: "gpt-9" }, "model_not_found", "model", "gpt-9"],
  ["no messages in the list", { messages: [] }, invalid, "messages", "at least 1"],
  ["text for messages", { messages: "Hi" }, invalid, "messages", "array"],
  ["null among the messages", { messages: [null] }, invalid, "messages[0]", "null"],
  ["too many messages", { messages: Array.from({ length: 2_049 }, () => user) }, invalid, "messages", "2048"],
  ["an unknown role", message({ role: "robot", content: "Hi" }), invalid, "messages[1].role", "'robot'"],
  ["no role", message({ content: "Hi" }), missing, "messages[1].role", "role"],
  ["a number for a role", message({ role: 7, content: "Hi" }), invalid, "messages[1].role", "7"],
  ["no content", message({ role: "user" }), missing, "messages[1].content", "content"],
  ["null for a user's content", message({ role: "user", content: null }), invalid, "messages[1].content", "null"],
  ["a number for content", message({ role: "user", content: 3 }), invalid, "messages[1].content", "string or an array"],
  ["no parts", message({ role: "user", content: [] }), invalid, "messages[1].content", "at least 1"],
  ["an image", message({ role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }] }), unsupported, "messages[1].content[0].type", "image"],
  ["an unknown part", message({ role: "user", content: [{ type: "smell" }] }), invalid, "messages[1].content[0].type", "'smell'"],
  ["a part without text", message({ role: "user", content: [{ type: "text" }] }), missing, "messages[1].content[0].text", "text"],
  ["a tool message that answers nothing", message({ role: "tool", content: "4" }), missing, "messages[1].tool_call_id", "tool_call_id"],
  ["a tool call without a name", message({ role: "assistant", tool_calls: [{ id: "1", type: "function", function: { arguments: "{}" } }] }), missing, "messages[1].tool_calls[0].function.name", "name"],
  ["a hot temperature", { temperature: "hot" }, invalid, "temperature", "expected a number, but got a string"],
  ["a temperature below 0", { temperature: -0.1 }, invalid, "temperature", "-0.1"],
  ["a temperature above 2", { temperature: 2.1 }, invalid, "temperature", "2.1"],
  ["top_p above 1", { top_p: 1.5 }, invalid, "top_p", "1.5"],
  ["top_k below -1", { top_k: -2 }, invalid, "top_k", "-2"],
  ["a fraction for top_k", { top_k: 1.5 }, invalid, "top_k", "integer"],
  ["min_p above 1", { min_p: 2 }, invalid, "min_p", "2"],
  ["a repetition penalty of 0", { repetition_penalty: 0 }, invalid, "repetition_penalty", "0"],
  ["a frequency penalty above 2", { frequency_penalty: 3 }, invalid, "frequency_penalty", "3"],
  ["a presence penalty below -2", { presence_penalty: -3 }, invalid, "presence_penalty", "-3"],
  ["negative max_tokens", { max_tokens: -1 }, invalid, "max_tokens", "-1"],
  ["no max_tokens at all", { max_tokens: 0 }, invalid, "max_tokens", "0"],
  ["a fraction for max_tokens", { max_tokens: 1.5 }, invalid, "max_tokens", "integer"],
  ["text for max_completion_tokens", { max_completion_tokens: "9" }, invalid, "max_completion_tokens", "string"],
  ["a number for stop", { stop: 5 }, invalid, "stop", "string or an array"],
  ["an empty stop string", { stop: "" }, invalid, "stop", "at least 1"],
  ["an empty stop string in a list", { stop: ["a", ""] }, invalid, "stop[1]", "at least 1"],
  ["five stop strings", { stop: ["a", "b", "c", "d", "e"] }, invalid, "stop", "at most 4"],
  ["half a character as stop string", { stop: "\uD800" }, invalid, "stop", "surrogate"],
  ["a fraction for a seed", { seed: 0.5 }, invalid, "seed", "integer"],
  ["text for a seed", { seed: "lucky" }, invalid, "seed", "string"],
  ["a word in logit_bias", { logit_bias: { hello: 1 } }, invalid, "logit_bias.hello", "hello"],
  ["a bias above 100", { logit_bias: { 1: 101 } }, invalid, "logit_bias.1", "101"],
  ["a bias on a token that is none", { logit_bias: { 49152: 1 } }, invalid, "logit_bias.49152", "49152"],
  ["a list for logit_bias", { logit_bias: [1] }, invalid, "logit_bias", "array"],
  ["text for stream", { stream: "yes" }, invalid, "stream", "boolean"],
  ["an unknown stream option", { stream: true, stream_options: { include_all: true } }, unknown, "stream_options.include_all", "include_all"],
  ["n of 0", { n: 0 }, invalid, "n", "0"],
  ["n of 17", { n: 17 }, invalid, "n", "17"],
  ["a number for logprobs", { logprobs: 3 }, invalid, "logprobs", "boolean"],
  ["21 alternatives", { logprobs: true, top_logprobs: 21 }, invalid, "top_logprobs", "20"],
  ["alternatives without logprobs", { top_logprobs: 2 }, invalid, "top_logprobs", "logprobs"],
  ["an object for tools", { tools: {} }, invalid, "tools", "array"],
  ["a tool of another type", { tools: [{ type: "web_search" }] }, invalid, "tools[0].type", "function"],
  ["a tool without a function", { tools: [{ type: "function" }] }, missing, "tools[0].function", "function"],
  ["a tool without a name", { tools: [{ type: "function", function: {} }] }, missing, "tools[0].function.name", "name"],
  ["a tool's name with a space", { tools: [{ type: "function", function: { name: "get weather" } }] }, invalid, "tools[0].function.name", "letters"],
  ["text for a tool's parameters", { tools: [{ type: "function", function: { name: "f", parameters: "x" } }] }, invalid, "tools[0].function.parameters", "string"],
  ["129 tools", { tools: Array.from({ length: 129 }, (_, index) => ({ type: "function", function: { name: `f${index}` } })) }, invalid, "tools", "128"],
  ["an unknown tool choice", { tool_choice: "maybe" }, invalid, "tool_choice", "'required'"],
  ["a tool choice without tools", { tool_choice: "required" }, invalid, "tool_choice", "tools"],
  ["a choice of a tool that is not there", { tool_choice: { type: "function", function: { name: "g" } }, tools: [{ type: "function", function: { name: "f" } }] }, invalid, "tool_choice", "'g'"],
  ["text for parallel_tool_calls", { parallel_tool_calls: "no" }, invalid, "parallel_tool_calls", "boolean"],
  ["an unknown reasoning effort", { reasoning_effort: "huge" }, invalid, "reasoning_effort", "'huge'"],
  ["a template variable of the server's", { chat_template_kwargs: { messages: [] } }, invalid, "chat_template_kwargs.messages", "messages"],
  ["sound for an answer", { modalities: ["audio"] }, invalid, "modalities[0]", "text"],
  ["a misspelt parameter", { temprature: 1 }, unknown, "temprature", "temprature"],
  ["a prompt too long", { messages: [user(long)] }, "context_length_exceeded", "messages", "8192"],
  ["an unknown format", { response_format: { type: "xml" } }, invalid, "response_format.type", "'xml'"],
  ["a format without a schema", { response_format: { type: "json_schema" } }, missing, "response_format.json_schema"],
  ["a schema without a name", { response_format: { type: "json_schema", json_schema: { schema: {} } } }, missing, "response_format.json_schema.name"],
  ["an unknown type in the schema", schema({ type: "object", properties: { a: { type: "text" } } }), invalid, `${inSchema}.properties.a.type`],
  ["a keyword that is not kept", schema({ type: "object", patternProperties: {} }), invalid, `${inSchema}.patternProperties`],
  ["a range without a number", schema({ type: "integer", minimum: 3, maximum: 2 }), invalid, inSchema],
  ["a bad pattern in the schema", schema({ type: "string", pattern: "(?=a)" }), invalid, `${inSchema}.pattern`],
  ["a foreign reference", schema({ $ref: "https://example.com/x" }), invalid, `${inSchema}.$ref`],
  ["a schema nested without end", schema(many(200, 0).reduce<object>((items) => ({ type: "array", items }), {})), invalid, `${inSchema}.${many(129, "items").join(".")}`, "schema"],
  ["a bad pattern", { structured_outputs: { regex: "(" } }, invalid, "structured_outputs.regex"],
  ["a grammar without a root", { structured_outputs: { grammar: 'a ::= "b"' } }, invalid, "structured_outputs.grammar", "root"],
  ["a grammar that is open", { structured_outputs: { grammar: 'root ::= ("a"' } }, invalid, "structured_outputs.grammar", "line 1, column 10"],
  ["a grammar of an unknown rule", { structured_outputs: { grammar: "root ::= other" } }, invalid, "structured_outputs.grammar", "'other'"],
  ["an empty list of choices", { structured_outputs: { choice: [] } }, invalid, "structured_outputs.choice"],
  ["two shapes at once", { structured_outputs: { choice: ["a"], regex: "a" } }, invalid, "structured_outputs"],
  ["an unknown shape", { structured_outputs: { lark: "start: x" } }, unknown, "structured_outputs.lark"],
  ["a call with a schema that is not kept", { tools: [{ type: "function", function: { name: "f", parameters: { type: "object", not: {} } } }], tool_choice: "required" }, invalid, "tools[0].function.parameters.not"],
];

const completions: readonly Row[] = [
  ["no prompt", {}, missing, "prompt"],
  ["an empty prompt", { prompt: "" }, invalid, "prompt"],
  ["no prompts", { prompt: [] }, invalid, "prompt"],
  ["an object for a prompt", { prompt: {} }, invalid, "prompt"],
  ["a number among texts", { prompt: ["a", 5] }, invalid, "prompt[1]"],
  ["a text among tokens", { prompt: [5, "a"] }, invalid, "prompt[1]"],
  ["a token that is none", { prompt: [99_999] }, invalid, "prompt"],
  ["a negative token", { prompt: [-1] }, invalid, "prompt[0]"],
  ["too many prompts", { prompt: Array.from({ length: 33 }, () => "a") }, invalid, "prompt"],
  ["too many answers", { prompt: Array.from({ length: 32 }, () => "a"), n: 3 }, invalid, "prompt"],
  ["a suffix", { prompt: "a", suffix: "b" }, invalid, "suffix"],
  ["best_of less than n", { prompt: "a", n: 3, best_of: 2 }, invalid, "best_of"],
  ["best_of of a stream", { prompt: "a", best_of: 2, stream: true }, invalid, "best_of"],
  ["six alternatives", { prompt: "a", logprobs: 6 }, invalid, "logprobs"],
  ["true for logprobs", { prompt: "a", logprobs: true }, invalid, "logprobs"],
  ["echo with logprobs", { prompt: "a", logprobs: 1, echo: true }, unsupported, "logprobs"],
  ["negative max_tokens", { prompt: "a", max_tokens: -1 }, invalid, "max_tokens"],
  ["messages", { prompt: "a", messages: [] }, unknown, "messages"],
  ["a prompt too long", { prompt: long }, "context_length_exceeded", "prompt"],
  ["a bad pattern", { prompt: "a", structured_outputs: { regex: "[" } }, invalid, "structured_outputs.regex"],
  ["an unknown stream option", { prompt: "a", stream_options: { all: true } }, unknown, "stream_options.all"],
];

const embeddings: readonly Row[] = [
  ["no input", { input: undefined }, missing, "input"],
  ["an empty text", { input: "" }, invalid, "input"],
  ["no inputs", { input: [] }, invalid, "input"],
  ["an empty text among others", { input: ["a", ""] }, invalid, "input[1]"],
  ["an object", { input: { text: "a" } }, invalid, "input"],
  ["a text among tokens", { input: [5, "a"] }, invalid, "input[1]"],
  ["a negative token", { input: [1, -2] }, invalid, "input[1]"],
  ["a token that is none", { input: [[1], [49_152]] }, invalid, "input[1]", "49152"],
  ["an input without tokens", { input: [[1], []] }, invalid, "input[1]"],
  ["too many inputs", { input: many(2_049, "a") }, invalid, "input", "2048"],
  ["an input too long", { input: ["a", long] }, "context_length_exceeded", "input[1]", "8192"],
  ["no dimensions", { dimensions: 0 }, invalid, "dimensions"],
  ["more dimensions than there are", { dimensions: 577 }, invalid, "dimensions", "576"],
  ["an unknown encoding", { encoding_format: "hex" }, invalid, "encoding_format", "'base64'"],
  ["a stream", { stream: true }, unknown, "stream"],
  ["an unknown model", { model: "ada" }, "model_not_found", "model", "ada"],
];

const messages: readonly Row[] = [
  ["no max_tokens", { max_tokens: undefined, messages: [user("Hi")] }, missing, "max_tokens"],
  ["no max_tokens at all", { max_tokens: 0, messages: [user("Hi")] }, invalid, "max_tokens"],
  ["no messages", { messages: [] }, invalid, "messages"],
  ["a system message among the others", { messages: [{ role: "system", content: "x" }] }, invalid, "messages[0].role"],
  ["a number for content", { messages: [user(5)] }, invalid, "messages[0].content"],
  ["an image", { messages: [user([{ type: "image", source: {} }])] }, unsupported, "messages[0].content[0].type"],
  ["an unknown block", { messages: [user([{ type: "smell" }])] }, invalid, "messages[0].content[0].type"],
  ["a tool use by the user", { messages: [user([{ type: "tool_use", id: "a", name: "b", input: {} }])] }, invalid, "messages[0].content[0].type"],
  ["a result of nothing", { messages: [user([{ type: "tool_result" }])] }, missing, "messages[0].content[0].tool_use_id"],
  ["a tool use to go on with", { messages: [hi, { role: "assistant", content: [{ type: "tool_use", id: "a", name: "b", input: {} }] }] }, invalid, "messages[1].content"],
  ["a temperature above 1", { temperature: 1.5 }, invalid, "temperature"],
  ["an empty stop sequence", { stop_sequences: [""] }, invalid, "stop_sequences[0]"],
  ["a tool without a schema", { tools: [{ name: "a" }] }, missing, "tools[0].input_schema"],
  ["a tool of the provider's", { tools: [{ type: "web_search_20250305", name: "web_search", input_schema: {} }] }, invalid, "tools[0].type"],
  ["an unknown tool choice", { tool_choice: { type: "some" } }, invalid, "tool_choice.type"],
  ["a misspelt parameter", { max_token: 3 }, unknown, "max_token"],
  ["an unknown model", { model: "claude-9", messages: [user("Hi")] }, "model_not_found", "model"],
  ["a prompt too long", { messages: [user(long)] }, "context_length_exceeded", "messages"],
  ["an unknown format", { output_config: { format: { type: "xml" } } }, invalid, "output_config.format.type"],
  ["a schema that is not kept", { output_config: { format: { type: "json_schema", schema: { if: {} } } } }, invalid, "output_config.format.schema.if"],
];

const countTokens: readonly Row[] = [
  ["no messages", { messages: undefined }, missing, "messages"],
  ["a bound on the answer", { max_tokens: 5 }, unknown, "max_tokens"],
  ["an unknown role", { messages: [{ role: "robot", content: "Hi" }] }, invalid, "messages[0].role"],
];

const responses: readonly Row[] = [
  ["no input", { input: undefined }, missing, "input"],
  ["no items", { input: [] }, invalid, "input"],
  ["a number for input", { input: 5 }, invalid, "input"],
  ["an unknown role", { input: [{ role: "robot", content: "Hi" }] }, invalid, "input[0].role"],
  ["an image", { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, unsupported, "input[0].content[0].type"],
  ["a result of nothing", { input: [{ type: "function_call_output", output: "x" }] }, missing, "input[0].call_id"],
  ["a built-in tool", { tools: [{ type: "web_search" }] }, invalid, "tools[0].type"],
  ["work in the background", { background: true }, invalid, "background"],
  ["an unknown response", { previous_response_id: "resp_x" }, "not_found", "previous_response_id", "resp_x"],
  ["a conversation of the provider's", { conversation: "conv_1" }, unknown, "conversation"],
  ["no tokens", { max_output_tokens: 0 }, invalid, "max_output_tokens"],
  ["an unknown format", { text: { format: { type: "xml" } } }, invalid, "text.format.type"],
  ["an unknown effort", { reasoning: { effort: "huge" } }, invalid, "reasoning.effort"],
  ["a prompt too long", { input: long }, "context_length_exceeded", "input"],
  ["a schema that is not kept", { text: { format: { type: "json_schema", name: "x", schema: { type: "what" } } } }, invalid, "text.format.schema.type"],
  ["an unknown tool choice", { tool_choice: "maybe" }, invalid, "tool_choice"],
];

const tokenize: readonly Row[] = [
  ["nothing to tokenize", { prompt: undefined }, missing, "prompt"],
  ["a number", { prompt: 5 }, invalid, "prompt"],
  ["two things to tokenize", { messages: [hi] }, invalid, "messages"],
  ["an unknown role", { prompt: null, messages: [{ role: "robot", content: "x" }] }, invalid, "messages[0].role"],
  ["a misspelt parameter", { promt: "a" }, unknown, "promt"],
];

const detokenize: readonly Row[] = [
  ["no tokens", { tokens: undefined }, missing, "tokens"],
  ["a token that is none", { tokens: [1, 99_999] }, invalid, "tokens[1]"],
  ["a fraction of a token", { tokens: [1.5] }, invalid, "tokens[0]"],
  ["text", { tokens: "abc" }, invalid, "tokens"],
];

const json = { "content-type": "application/json" };

/** @param model a name that the server knows */
export function badRequests(model: string): readonly BadRequest[] {
  const endpoint = (url: string, good: object, rows: readonly Row[]): BadRequest[] => rows.map(([name, changes, code, param, word]) => ({
    method: "POST", url, name, headers: json, body: Array.isArray(changes) ? changes : { model, ...good, ...changes },
    status: catalogue[code].http, code, param, word: word ?? param?.split(/[.[]/u)[0] ?? "",
  }));
  const other = (method: BadRequest["method"], url: string, name: string, code: ErrorCode, more: Partial<BadRequest> = {}): BadRequest =>
    ({ method, url, name, headers: json, body: undefined, status: catalogue[code].http, code, param: null, word: "", ...more });
  const chatUrl = "/v1/chat/completions";
  const raw = (name: string, body: string, code: ErrorCode = "invalid_json", headers: BadRequest["headers"] = json) => other("POST", chatUrl, name, code, { body, headers });
  const good = JSON.stringify({ model, messages: [hi] });
  return [
    ...endpoint(chatUrl, { messages: [hi] }, chat),
    ...endpoint("/v1/completions", {}, completions),
    ...endpoint("/v1/embeddings", { input: "a" }, embeddings),
    ...endpoint("/v1/messages", { max_tokens: 10, messages: [hi] }, messages),
    ...endpoint("/v1/messages/count_tokens", { messages: [hi] }, countTokens),
    ...endpoint("/v1/responses", { input: "Hi" }, responses),
    ...endpoint("/tokenize", { prompt: "a" }, tokenize),
    ...endpoint("/detokenize", { tokens: [1] }, detokenize),
    raw("an open brace", "{"), raw("single quotes", "{'model': 1}"), raw("nothing at all", ""), raw("a null byte", "\u0000"), raw("something behind the body", `${good} more`),
    raw("a prototype", '{"__proto__": {"a": 1}}'), raw("null", "null", invalid), raw("text", '"Hi"', invalid),
    raw("a body that is called text", good, "unsupported_media_type", { "content-type": "text/plain" }), raw("a form", good, "unsupported_media_type", { "content-type": "application/x-www-form-urlencoded" }),
    ...["soon", "-1", "0", "1e9", "90000"].map((timeout) => other("POST", chatUrl, `a timeout of ${timeout}`, invalid, { body: good, headers: { ...json, timeout }, param: "timeout", word: "timeout" })),
    other("GET", "/v1/nothing", "an unknown address", "not_found", { word: "/v1/nothing" }), other("POST", "/v1/images/generations", "pictures to be made", "not_found", { body: "{}" }),
    other("GET", chatUrl, "no method for it", "method_not_allowed", { word: "POST" }), other("DELETE", "/v1/models", "a list to be deleted", "method_not_allowed"), other("PUT", "/v1/embeddings", "another method", "method_not_allowed", { body: "{}" }),
    other("POST", "/health", "health to be posted", "method_not_allowed", { body: "{}" }), other("GET", "/v1/models/none", "an unknown model", "model_not_found", { param: "model", word: "none" }),
    other("GET", "/v1/responses/resp_none", "an unknown response", "not_found", { param: "response_id", word: "resp_none" }), other("DELETE", "/v1/responses/resp_none", "an unknown response to be deleted", "not_found", { param: "response_id", word: "resp_none" }),
    other("GET", "/v1/models/%E0%A4%A", "an address that cannot be decoded", "malformed_request"),
  ];
}
