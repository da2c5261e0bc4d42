import type { FastifyInstance } from "fastify";
import { beforeAll, describe, expect, it } from "vitest";
import { ResponseStore } from "../../../src/api/responses/store.js";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import { encode, endOfTurn, expectError, frontDoor, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));
const tool = { type: "function", name: "get_weather", description: "Weather", parameters: { type: "object", properties: { city: { type: "string" } } }, strict: true };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

async function send(server: FastifyInstance, body: object) {
  const response = await server.inject({ method: "POST", url: "/v1/responses", payload: { model: modelId, ...body } });
  return { status: response.statusCode, text: response.body, json: () => response.json<Record<string, unknown>>() };
}
const post = (generator: ScriptedGenerator, body: object) => send(frontDoor(model, generator), body);

interface Event { type: string; sequence_number: number; output_index?: number; item_id?: string; delta?: string; item?: { id: string; type: string; status?: string }; response?: { status: string; output: object[]; usage: object | null }; code?: string }
const eventsOf = (body: string): Event[] => body.split("\n\n").filter((block) => block.startsWith("event: ")).map((block) => {
  const [event, data] = block.split("\n");
  const parsed = JSON.parse(data!.slice("data: ".length)) as Event;
  expect(event).toBe(`event: ${parsed.type}`);
  return parsed;
});
const promptText = (generator: ScriptedGenerator, index = 0) => model.assistant.tokenizer.decode(generator.requests[index]!.prompt, { keepSpecial: true });

describe("POST /v1/responses", () => {
  it("answers with OpenAI's response object", async () => {
    const generator = answering("Hello!");
    const response = await post(generator, { input: "Hi", instructions: "Be brief.", temperature: 0, metadata: { a: "b" } });
    const promptTokens = generator.requests[0]!.prompt.length;
    expect(response.json()).toMatchObject({
      id: expect.stringMatching(/^resp_/u) as string, object: "response", status: "completed", error: null, incomplete_details: null, model: modelId, instructions: "Be brief.", temperature: 0, metadata: { a: "b" },
      output: [{ type: "message", id: expect.stringMatching(/^msg_/u) as string, status: "completed", role: "assistant", content: [{ type: "output_text", text: "Hello!", annotations: [] }] }],
      usage: { input_tokens: promptTokens, input_tokens_details: { cached_tokens: 3 }, output_tokens: 3, total_tokens: promptTokens + 3 },
    });
    expect(promptText(generator)).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  });

  it("is incomplete where max_output_tokens cut it", async () => {
    expect((await post(answering("one two three"), { input: "Hi", max_output_tokens: 2 })).json()).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" }, output: [{ status: "incomplete" }] });
  });

  it("streams numbered events that build the same response", async () => {
    const events = eventsOf((await post(answering(`I look.\n${call}`), { input: "Weather?", tools: [tool], stream: true })).text);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    expect(events.map((event) => event.type).filter((type) => !type.endsWith(".delta"))).toEqual([
      "response.created", "response.in_progress",
      "response.output_item.added", "response.content_part.added", "response.output_text.done", "response.content_part.done", "response.output_item.done",
      "response.output_item.added", "response.function_call_arguments.done", "response.output_item.done",
      "response.completed",
    ]);
    const of = (type: string) => events.filter((event) => event.type === type).map((event) => event.delta).join("");
    expect([of("response.output_text.delta"), of("response.function_call_arguments.delta")]).toEqual(["I look.", '{"city": "Paris"}']);
    const { output } = events.at(-1)!.response!;
    expect(output).toEqual(events.filter((event) => event.type === "response.output_item.done").map((event) => event.item));
    expect(output).toMatchObject([{ type: "message" }, { type: "function_call", name: "get_weather", arguments: '{"city": "Paris"}', call_id: expect.stringMatching(/^call_/u) as string }]);
  });

  it("goes on with a stored response, its calls and their results", async () => {
    const generator = new ScriptedGenerator((request, signal) => saying([...encode(model, generator.requests.length === 1 ? call : "Sunny."), endOfTurn])(request, signal));
    const server = frontDoor(model, generator);
    const first = (await send(server, { input: "Weather?", tools: [tool] })).json();
    const [{ call_id: callId }] = first["output"] as [{ call_id: string }];
    const second = (await send(server, { previous_response_id: first["id"], input: [{ type: "function_call_output", call_id: callId, output: "sunny" }], tools: [tool], instructions: "Be brief." })).json();
    expect(second["output"]).toMatchObject([{ content: [{ text: "Sunny." }] }]);
    expect(promptText(generator, 1)).toMatch(/^<\|im_start\|>system\nBe brief\.\n\n# Tools/u);
    expect(promptText(generator, 1)).toContain(`user\nWeather?<|im_end|>\n<|im_start|>assistant\n${call}<|im_end|>\n<|im_start|>user\n<tool_response>\nsunny\n</tool_response>`);
    const kept = await server.inject({ url: `/v1/responses/${String(first["id"])}` });
    expect(kept.json()).toEqual(first);
    expect((await server.inject({ method: "DELETE", url: `/v1/responses/${String(first["id"])}` })).json()).toEqual({ id: first["id"], object: "response.deleted", deleted: true });
    expect((await server.inject({ url: `/v1/responses/${String(first["id"])}` })).statusCode).toBe(404);
  });

  it("does not keep what is not to be stored", async () => {
    const server = frontDoor(model, answering("Hi"));
    const { id } = (await send(server, { input: "Hi", store: false })).json();
    expectError(await send(server, { input: "Hi", previous_response_id: id }), 404, "not_found", "previous_response_id");
  });

  it("takes the same conversation as items", async () => {
    const generator = answering("x");
    await post(generator, { input: [
      { role: "developer", content: "Be brief." }, { type: "message", role: "user", content: [{ type: "input_text", text: "Weather?" }] },
      { type: "reasoning", summary: [] }, { type: "function_call", call_id: "a", name: "get_weather", arguments: '{"city":"Paris"}' }, { type: "function_call_output", call_id: "a", output: "sunny" },
    ] });
    expect(promptText(generator)).toBe('<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city":"Paris"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\nsunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n');
  });

  it("keeps the shape of text.format", async () => {
    const generator = answering('{"a": 1}');
    await post(generator, { input: "Hi", text: { format: { type: "json_schema", name: "x", schema: { type: "object", properties: { a: { type: "integer" } }, required: ["a"] } } } });
    expect(generator.requests[0]!.sampling.grammar).toContain('"kind":"schema"');
    expectError(await post(generator, { input: "Hi", text: { format: { type: "json_schema", name: "x", schema: { type: "what" } } } }), 400, "invalid_value", "text.format.schema.type");
  });

  it("tells an error in the stream as an error event", async () => {
    const breaking = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: encode(model, "Hi")[0]!, index: 0 }] };
      throw new MinidError("stage_lost", "Rank 1 is gone.");
    });
    expect(eventsOf((await post(breaking, { input: "Hi", stream: true })).text).at(-1)).toMatchObject({ type: "error", code: "stage_lost", message: "Rank 1 is gone." });
  });
});

describe("ResponseStore", () => {
  it("keeps a bounded number, the newest", () => {
    const store = new ResponseStore();
    for (let index = 0; index < 1_100; index += 1) store.put(`r${index}`, "", { response: {}, messages: [] });
    expect([store.get("r0", ""), store.get("r99", ""), store.get("r100", ""), store.get("r1099", "")].map((stored) => stored !== undefined)).toEqual([false, false, true, true]);
  });
});
