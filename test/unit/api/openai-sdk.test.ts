/** OpenAI's own client, unmodified, against the front door over real sockets. */
import type { FastifyInstance } from "fastify";
import OpenAI, { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from "openai";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import { babbling, encode, endOfTurn, frontDoor, listen, modelId, saying, ScriptedGenerator, smolModel, until } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });
const open: FastifyInstance[] = [];
afterEach(async () => { await Promise.all(open.splice(0).map((server) => server.close())); });

async function client(generator: ScriptedGenerator, options: { readonly maxRetries?: number } = {}): Promise<OpenAI> {
  const server = frontDoor(model, generator);
  open.push(server);
  return new OpenAI({ baseURL: `${await listen(server)}/v1`, apiKey: "none", maxRetries: 0, ...options });
}

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));
const messages = [{ role: "user" as const, content: "Hi" }];
const weather = { type: "function" as const, function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } } };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

describe("the openai package", () => {
  it("lists and finds models", async () => {
    const openai = await client(answering("x"));
    expect((await openai.models.list()).data.map((each) => each.id)).toEqual([modelId]);
    expect((await openai.models.retrieve(modelId)).id).toBe(modelId);
    await expect(openai.models.retrieve("org/none")).rejects.toBeInstanceOf(NotFoundError);
  });

  it("chats, whole and streaming, and sees its request id", async () => {
    const openai = await client(answering("Hello there"));
    const { data, request_id: id } = await openai.chat.completions.create({ model: modelId, messages }).withResponse();
    expect([data.choices[0]!.message.content, data.choices[0]!.finish_reason]).toEqual(["Hello there", "stop"]);
    expect(id).toMatch(/^req_/u);
    const stream = await openai.chat.completions.create({ model: modelId, messages, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect([text, usage?.completion_tokens]).toEqual(["Hello there", encode(model, "Hello there").length + 1]);
  });

  it("puts a stream together by itself, tool calls included", async () => {
    const openai = await client(answering(`I look.\n${call}`));
    const runner = openai.chat.completions.stream({ model: modelId, messages, tools: [weather] });
    const { choices: [choice] } = await runner.finalChatCompletion();
    expect(choice).toMatchObject({ finish_reason: "tool_calls", message: { content: "I look.", tool_calls: [{ type: "function", function: { name: "get_weather", arguments: '{"city": "Paris"}' } }] } });
  });

  it("runs a tool to its end", async () => {
    const generator = new ScriptedGenerator((request, signal) => saying([...encode(model, generator.requests.length === 1 ? call : "It is sunny."), endOfTurn])(request, signal));
    const openai = await client(generator);
    const asked: unknown[] = [];
    const runner = openai.chat.completions.runTools({
      model: modelId, messages: [{ role: "user", content: "Weather?" }],
      tools: [{ type: "function", function: { name: "get_weather", description: "Weather", parameters: { type: "object", properties: { city: { type: "string" } } }, parse: JSON.parse, function: (values: object) => { asked.push(values); return "sunny"; } } }],
    });
    expect(await runner.finalContent()).toBe("It is sunny.");
    expect(asked).toEqual([{ city: "Paris" }]);
  });

  it("parses structured output", async () => {
    const openai = await client(answering('{"city": "Paris"}'));
    const answer = await openai.chat.completions.parse({ model: modelId, messages, response_format: { type: "json_schema", json_schema: { name: "place", strict: true, schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false } } } });
    expect(JSON.parse(answer.choices[0]!.message.content!)).toEqual({ city: "Paris" });
  });

  it("meets its own exception classes", async () => {
    const openai = await client(answering("x"));
    const chat = (body: object) => openai.chat.completions.create({ model: modelId, messages, ...body } as OpenAI.ChatCompletionCreateParamsNonStreaming);
    await expect(chat({ model: "none" })).rejects.toMatchObject({ constructor: NotFoundError, status: 404, code: "model_not_found", param: "model" });
    await expect(chat({ temperature: "hot" })).rejects.toMatchObject({ constructor: BadRequestError, param: "temperature", type: "invalid_request_error" });
    await expect(chat({ nonsense: 1 })).rejects.toMatchObject({ constructor: BadRequestError, code: "unknown_parameter" });
    const full = await client(new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("queue_full", "Full."); }));
    await expect(full.chat.completions.create({ model: modelId, messages })).rejects.toBeInstanceOf(RateLimitError);
    const broken = await client(new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: encode(model, "Hi")[0]!, index: 0 }] };
      throw new MinidError("stage_lost", "Rank 1 is gone.");
    }));
    const stream = await broken.chat.completions.create({ model: modelId, messages, stream: true });
    await expect((async () => { for await (const chunk of stream) void chunk; })()).rejects.toMatchObject({ constructor: APIError, message: expect.stringContaining("Rank 1 is gone.") as string });
  });

  it("tries again after 429 as long as Retry-After says, and not what cannot succeed", async () => {
    const generator = new ScriptedGenerator((request, signal) => generator.requests.length === 1
      ? (async function* full() { yield* []; throw new MinidError("queue_full", "Full.", { retryAfterSeconds: 1 }); })()
      : saying([...encode(model, "Hello"), endOfTurn])(request, signal));
    const answer = await (await client(generator, { maxRetries: 2 })).chat.completions.create({ model: modelId, messages });
    expect([answer.choices[0]!.message.content, generator.requests.length]).toEqual(["Hello", 2]);
    const corrupt = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("model_corrupt", "Damaged."); });
    await expect((await client(corrupt, { maxRetries: 2 })).chat.completions.create({ model: modelId, messages })).rejects.toBeInstanceOf(InternalServerError);
    expect(corrupt.requests).toHaveLength(1);
  });

  it("stops the answer when it aborts", async () => {
    const generator = new ScriptedGenerator(babbling(encode(model, "on and on")));
    const stream = await (await client(generator)).chat.completions.create({ model: modelId, messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
  });

  it("completes text", async () => {
    const openai = await client(answering(" upon a time"));
    expect((await openai.completions.create({ model: modelId, prompt: "Once" })).choices[0]!.text).toBe(" upon a time");
    let text = "";
    for await (const chunk of await openai.completions.create({ model: modelId, prompt: "Once", stream: true })) text += chunk.choices[0]?.text ?? "";
    expect(text).toBe(" upon a time");
  });

  it("makes responses, whole and streaming, and goes on with them", async () => {
    const generator = answering("Hello there");
    const openai = await client(generator);
    const first = await openai.responses.create({ model: modelId, input: "Hi" });
    expect([first.output_text, first.status]).toEqual(["Hello there", "completed"]);
    const second = await openai.responses.create({ model: modelId, input: "Again", previous_response_id: first.id });
    expect(second.output_text).toBe("Hello there");
    expect((await openai.responses.retrieve(first.id)).id).toBe(first.id);
    const stream = openai.responses.stream({ model: modelId, input: "Hi", tools: [{ type: "function", name: "get_weather", parameters: { type: "object", properties: {} }, strict: false }] });
    expect((await stream.finalResponse()).output).toMatchObject([{ type: "message", content: [{ type: "output_text", text: "Hello there" }] }]);
  });
});
