/** Anthropic's own client, unmodified, against the front door over real sockets. */
import Anthropic, { APIUserAbortError, BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import { babbling, encode, endOfTurn, frontDoor, listen, modelId, saying, ScriptedGenerator, smolModel, until } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });
const open: FastifyInstance[] = [];
afterEach(async () => { await Promise.all(open.splice(0).map((server) => server.close())); });

async function client(generator: ScriptedGenerator, maxRetries = 0): Promise<Anthropic> {
  const server = frontDoor(model, generator);
  open.push(server);
  return new Anthropic({ baseURL: await listen(server), apiKey: "none", maxRetries });
}

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));
const ask = { model: modelId, max_tokens: 100, messages: [{ role: "user" as const, content: "Hi" }] };
const tools = [{ name: "get_weather", description: "Weather", input_schema: { type: "object" as const, properties: { city: { type: "string" } } } }];
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

describe("the @anthropic-ai/sdk package", () => {
  it("gets a message, whole and streaming", async () => {
    const anthropic = await client(answering("Hello there"));
    const message = await anthropic.messages.create(ask);
    expect([message.content, message.stop_reason]).toEqual([[{ type: "text", text: "Hello there" }], "end_turn"]);
    const final = await anthropic.messages.stream(ask).finalMessage();
    expect(final).toMatchObject({ content: [{ type: "text", text: "Hello there" }], stop_reason: "end_turn", usage: { output_tokens: encode(model, "Hello there").length + 1 } });
  });

  it("goes through a tool use and back, streaming", async () => {
    const generator = new ScriptedGenerator((request, signal) => saying([...encode(model, generator.requests.length === 1 ? `I look.\n${call}` : "It is sunny."), endOfTurn])(request, signal));
    const anthropic = await client(generator);
    const first = await anthropic.messages.stream({ ...ask, tools }).finalMessage();
    const use = first.content.find((block) => block.type === "tool_use")!;
    expect([use.name, use.input, first.stop_reason]).toEqual(["get_weather", { city: "Paris" }, "tool_use"]);
    const second = await anthropic.messages.create({ ...ask, tools, messages: [...ask.messages, { role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "sunny" }] }] });
    expect(second.content).toEqual([{ type: "text", text: "It is sunny." }]);
  });

  it("counts tokens", async () => {
    const { max_tokens: _unused, ...counted } = ask;
    expect((await (await client(answering("x"))).messages.countTokens(counted)).input_tokens).toBeGreaterThan(5);
  });

  it("meets its own exception classes, and tries again after 429", async () => {
    const anthropic = await client(answering("x"));
    await expect(anthropic.messages.create({ ...ask, model: "none" })).rejects.toBeInstanceOf(NotFoundError);
    await expect(anthropic.messages.create({ ...ask, max_tokens: -7 })).rejects.toMatchObject({ constructor: BadRequestError, error: { error: { type: "invalid_request_error" } } });
    const generator = new ScriptedGenerator((request, signal) => generator.requests.length === 1
      ? (async function* full() { yield* []; throw new MinidError("queue_full", "Full.", { retryAfterSeconds: 1 }); })()
      : saying([...encode(model, "Hello"), endOfTurn])(request, signal));
    expect((await (await client(generator, 2)).messages.create(ask)).content).toEqual([{ type: "text", text: "Hello" }]);
  });

  it("stops the answer when it aborts", async () => {
    const generator = new ScriptedGenerator(babbling(encode(model, "on and on")));
    const stream = (await client(generator)).messages.stream(ask);
    stream.on("text", () => { stream.abort(); });
    await expect(stream.finalMessage()).rejects.toBeInstanceOf(APIUserAbortError);
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
  });
});
