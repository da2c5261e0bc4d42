import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import { ChatTemplate } from "../../../src/model/chat-template.js";
import { encode, endOfTurn, frontDoor, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));
const user = (content: unknown) => ({ role: "user", content });
const tool = { name: "get_weather", description: "Weather", input_schema: { type: "object", properties: { city: { type: "string" } } } };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

async function post(generator: ScriptedGenerator, body: object, { url = "/v1/messages", served = model }: { readonly url?: string; readonly served?: ServedModel } = {}) {
  const response = await frontDoor(served, generator).inject({ method: "POST", url, payload: { model: modelId, ...(url === "/v1/messages" && { max_tokens: 100 }), ...body } });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: () => response.json<Record<string, unknown>>() };
}

interface Event { type: string; index?: number; delta?: { type?: string; text?: string; thinking?: string; partial_json?: string; stop_reason?: string }; content_block?: Record<string, unknown>; message?: object; usage?: object }
/** Each event's name is its data's type. */
function eventsOf(body: string): Event[] {
  return body.split("\n\n").filter((block) => block.startsWith("event: ")).map((block) => {
    const [event, data] = block.split("\n");
    const parsed = JSON.parse(data!.slice("data: ".length)) as Event;
    expect(event).toBe(`event: ${parsed.type}`);
    return parsed;
  });
}
const promptText = (generator: ScriptedGenerator) => model.assistant.tokenizer.decode(generator.requests[0]!.prompt, { keepSpecial: true });

describe("POST /v1/messages", () => {
  it("answers with Anthropic's message object", async () => {
    const generator = answering("Hello!");
    const response = await post(generator, { system: [{ type: "text", text: "Be brief." }], messages: [user("Hi")], temperature: 0 });
    expect(response.json()).toEqual({
      id: expect.stringMatching(/^msg_/u) as string, type: "message", role: "assistant", model: modelId,
      content: [{ type: "text", text: "Hello!" }], stop_reason: "end_turn", stop_sequence: null,
      usage: { input_tokens: generator.requests[0]!.prompt.length - 3, cache_creation_input_tokens: 0, cache_read_input_tokens: 3, output_tokens: 3 },
    });
    expect(response.headers["request-id"]).toBe(response.headers["x-request-id"]);
    expect(promptText(generator)).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  });

  it("says why it stopped: max_tokens, or the stop sequence that it met", async () => {
    expect((await post(answering("one two three"), { messages: [user("Hi")], max_tokens: 2 })).json()).toMatchObject({ stop_reason: "max_tokens", stop_sequence: null });
    expect((await post(answering("one two three"), { messages: [user("Hi")], stop_sequences: ["x", " three"] })).json()).toMatchObject({ content: [{ text: "one two" }], stop_reason: "stop_sequence", stop_sequence: " three" });
  });

  it("goes on with an answer that the client began", async () => {
    const generator = answering(" is Paris.");
    const response = await post(generator, { messages: [user("Capital?"), { role: "assistant", content: "The capital" }] });
    expect(response.json()).toMatchObject({ content: [{ type: "text", text: " is Paris." }] });
    expect(promptText(generator)).toMatch(/assistant\nThe capital$/u);
  });

  it("streams Anthropic's events", async () => {
    const events = eventsOf((await post(answering("Hello there"), { messages: [user("Hi")], stream: true })).text);
    expect(events.map((event) => event.type)).toEqual(["message_start", "ping", "content_block_start", ...Array.from({ length: encode(model, "Hello there").length }, () => "content_block_delta"), "content_block_stop", "message_delta", "message_stop"]);
    expect(events[0]!.message).toMatchObject({ type: "message", role: "assistant", content: [], stop_reason: null, usage: { output_tokens: 0 } });
    expect(events.map((event) => event.delta?.text ?? "").join("")).toBe("Hello there");
    expect(events.at(-2)).toMatchObject({ delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 3 } });
  });

  it("answers with tool use, whole and as a stream", async () => {
    const generator = answering(`I look.\n${call}`);
    const whole = (await post(generator, { messages: [user("Weather?")], tools: [tool] })).json();
    expect(whole).toMatchObject({ content: [{ type: "text", text: "I look." }, { type: "tool_use", name: "get_weather", input: { city: "Paris" } }], stop_reason: "tool_use" });
    expect(promptText(generator)).toContain('"name":"get_weather","description":"Weather","parameters"');
    const events = eventsOf((await post(answering(`I look.\n${call}\n${call}`), { messages: [user("Weather?")], tools: [tool], stream: true })).text);
    expect(events.filter((event) => event.type === "content_block_start").map((event) => [event.index, event.content_block!["type"]])).toEqual([[0, "text"], [1, "tool_use"], [2, "tool_use"]]);
    for (const index of [1, 2]) expect(events.filter((event) => event.index === index).map((event) => event.delta?.partial_json ?? "").join("")).toBe('{"city": "Paris"}');
    expect(events.filter((event) => event.type === "content_block_stop").map((event) => event.index)).toEqual([0, 1, 2]);
    expect(events.at(-2)!.delta!.stop_reason).toBe("tool_use");
  });

  it("renders tool use and its results into the conversation", async () => {
    const generator = answering("Sunny.");
    await post(generator, { tools: [tool], messages: [user("Weather?"), { role: "assistant", content: [{ type: "thinking", thinking: "hm", signature: "s" }, { type: "text", text: "I look." }, { type: "tool_use", id: "a", name: "get_weather", input: { city: "Paris" } }] }, user([{ type: "tool_result", tool_use_id: "a", content: [{ type: "text", text: "sunny" }] }, { type: "tool_result", tool_use_id: "b", content: "down", is_error: true }, { type: "text", text: "And?" }])] });
    const prompt = promptText(generator);
    expect(prompt).toContain('assistant\nI look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city":"Paris"}}\n</tool_call>');
    expect(prompt).toContain("user\n<tool_response>\nsunny\n</tool_response>\n<tool_response>\nError: down\n</tool_response><|im_end|>\n<|im_start|>user\nAnd?<|im_end|>");
  });

  it("makes a call under a grammar where one is asked for", async () => {
    const generator = answering(call);
    await post(generator, { messages: [user("Weather?")], tools: [tool], tool_choice: { type: "tool", name: "get_weather" } });
    await post(generator, { messages: [user("Weather?")], tools: [tool], tool_choice: { type: "any", disable_parallel_tool_use: true } });
    await post(generator, { messages: [user("Weather?")], tools: [tool], tool_choice: { type: "none" } });
    expect(generator.requests.map((request) => request.sampling.grammar !== undefined)).toEqual([true, true, false]);
  });

  it("tells thinking apart, and thinks only when asked to", async () => {
    const template = new ChatTemplate(new Map([["default", "{% for m in messages %}{{ m.content }}{% endfor %}{% if enable_thinking %}<think>\n{% endif %}"]]), {}, "test");
    const served = { ...model, assistant: { ...model.assistant, template } };
    const thought = await post(answering("Hm.</think>\n\nYes."), { messages: [user("Hi")], thinking: { type: "enabled", budget_tokens: 1_024 } }, { served });
    expect(thought.json()["content"]).toEqual([{ type: "thinking", thinking: "Hm.", signature: "" }, { type: "text", text: "Yes." }]);
    const streamed = eventsOf((await post(answering("Hm.</think>\n\nYes."), { messages: [user("Hi")], thinking: { type: "enabled" }, stream: true }, { served })).text);
    expect(streamed.map((event) => event.delta?.thinking ?? "").join("")).toBe("Hm.");
    expect((await post(answering("Yes."), { messages: [user("Hi")] }, { served })).json()["content"]).toEqual([{ type: "text", text: "Yes." }]);
  });

  it("counts the tokens that a message would have", async () => {
    const generator = answering("x");
    await post(generator, { messages: [user("Hi")], tools: [tool] });
    expect((await post(generator, { messages: [user("Hi")], tools: [tool] }, { url: "/v1/messages/count_tokens" })).json()).toEqual({ input_tokens: generator.requests[0]!.prompt.length });
  });

  it("refuses in Anthropic's error shape", async () => {
    const response = await post(answering("x"), { messages: [] });
    expect(response.json()).toEqual({ type: "error", error: { type: "invalid_request_error", message: expect.any(String) as string, param: "messages", code: "invalid_value" }, request_id: response.headers["x-request-id"] });
    expect(response.status).toBe(400);
  });

  it("tells overload, and errors in the stream, the way Anthropic does", async () => {
    const full = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("queue_full", "Full."); });
    expect((await post(full, { messages: [user("Hi")], stream: true })).json()).toMatchObject({ error: { type: "rate_limit_error" } });
    const lost = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("no_leader", "Nobody."); });
    const overloaded = await post(lost, { messages: [user("Hi")] });
    expect([overloaded.status, overloaded.json()]).toMatchObject([503, { error: { type: "overloaded_error" } }]);
    const breaking = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: encode(model, "Hi")[0]!, index: 0 }] };
      throw new MinidError("stage_lost", "Rank 1 is gone.");
    });
    expect(eventsOf((await post(breaking, { messages: [user("Hi")], stream: true })).text).at(-1)).toMatchObject({ type: "error", error: { type: "overloaded_error", message: "Rank 1 is gone." } });
  });
});
