import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import type { GeneratedToken } from "../../../src/daemon/inference/generate.js";
import { ChatTemplate } from "../../../src/model/chat-template.js";
import { encode, endOfTurn, events, expectError, frontDoor, postChat, saying, ScriptedGenerator, smolModel, until, userSays } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));
interface Choice { index: number; message: Record<string, unknown>; finish_reason: string; logprobs: { content: { token: string; logprob: number; bytes: number[]; top_logprobs: { token: string; logprob: number }[] }[] } | null }
interface Answer { choices: Choice[]; usage: Record<string, unknown> }
interface DeltaObject { content?: string; reasoning_content?: string; tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[] }
interface Chunk { choices: { index: number; delta: DeltaObject; finish_reason: string | null; logprobs: Choice["logprobs"] }[]; usage?: Record<string, unknown> | null }
const chunksOf = (body: string): Chunk[] => events(body).filter((data) => data !== "[DONE]").map((data) => JSON.parse(data) as Chunk);

const weather = { type: "function", function: { name: "get_weather", description: "Weather of a city", parameters: { type: "object", properties: { city: { type: "string" } } } } };
const time = { type: "function", function: { name: "get_time" } };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

describe("several choices", () => {
  it("are answered side by side with seeds of their own and one count of the prompt", async () => {
    const generator = new ScriptedGenerator((request, signal) => saying([...encode(model, request.requestId.endsWith("-1") ? "other" : "same"), endOfTurn])(request, signal));
    const response = await postChat(frontDoor(model, generator), userSays("Hi", { n: 3, seed: 5 }));
    const { choices, usage } = response.json() as Answer;
    expect(choices.map((choice) => [choice.index, choice.message["content"]])).toEqual([[0, "same"], [1, "other"], [2, "same"]]);
    expect(usage).toMatchObject({ prompt_tokens: generator.requests[0]!.prompt.length, completion_tokens: 6 });
    expect(generator.requests[0]!.sampling.seed).toBe(5);
    expect(new Set(generator.requests.map((request) => request.sampling.seed)).size).toBe(3);
    expect(new Set(generator.requests.map((request) => request.requestId)).size).toBe(3);
  });

  it("begin when the first has its first token, so that they find the prompt cached", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => { release = resolve; });
    const generator = new ScriptedGenerator(async function* script(request, signal) {
      if (generator.requests.length === 1) await held;
      yield* saying([...encode(model, "hi"), endOfTurn])(request, signal);
    });
    const answer = postChat(frontDoor(model, generator), userSays("Hi", { n: 4 }));
    await until(() => expect(generator.requests).toHaveLength(1));
    release();
    expect(((await answer).json() as Answer).choices).toHaveLength(4);
    expect(generator.requests).toHaveLength(4);
  });

  it("stream with their index, each with a role and a finish reason", async () => {
    const response = await postChat(frontDoor(model, answering("one two three")), userSays("Hi", { n: 2, stream: true, stream_options: { include_usage: true } }));
    const chunks = chunksOf(response.text);
    for (const index of [0, 1]) {
      const own = chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.index === index));
      expect(own[0]!.delta).toEqual({ role: "assistant", content: "" });
      expect(own.map((choice) => choice.delta.content ?? "").join("")).toBe("one two three");
      expect(own.filter((choice) => choice.finish_reason !== null)).toHaveLength(1);
    }
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 8 } });
  });

  it("are all stopped when one of them fails", async () => {
    const generator = new ScriptedGenerator(async function* script(request, signal) {
      yield { kind: "tokens", tokens: [{ token: 5, index: 0 }] };
      if (request.requestId.endsWith("-1")) throw new TypeError("bug");
      await new Promise((_resolve, reject) => { signal.addEventListener("abort", () => reject(signal.reason as Error)); });
    });
    expectError(await postChat(frontDoor(model, generator), userSays("Hi", { n: 3 })), 500, "internal_error", null);
    expect(generator.signals.map((signal) => signal.aborted)).toEqual([true, true, true]);
  });
});

describe("logprobs", () => {
  const withLogprobs = (tokens: readonly number[]) => new ScriptedGenerator(async function* script() {
    for (const [index, token] of tokens.entries()) {
      const generated: GeneratedToken = { token, index, logprobs: { logprob: -0.5, top: [{ token, logprob: -0.5 }, { token: 5, logprob: -Infinity }] } };
      yield { kind: "tokens", tokens: [generated] };
    }
    yield { kind: "finished", reason: "stop", cachedPromptTokens: 0 };
  });

  it("come with token, bytes and alternatives, and leave out the end of turn", async () => {
    const generator = withLogprobs([...encode(model, "Hé 👍"), endOfTurn]);
    const response = await postChat(frontDoor(model, generator), userSays("Hi", { logprobs: true, top_logprobs: 2 }));
    const [choice] = (response.json() as Answer).choices;
    const content = choice!.logprobs!.content;
    expect(content).toHaveLength(encode(model, "Hé 👍").length);
    expect(Buffer.from(content.flatMap((token) => token.bytes)).toString()).toBe("Hé 👍");
    expect(content[0]).toMatchObject({ logprob: -0.5, top_logprobs: [{ logprob: -0.5 }, { logprob: -9999 }] });
    expect(generator.requests[0]!.sampling.topLogprobs).toBe(2);
  });

  it("stream with the text that they belong to, and stop where a stop string cuts", async () => {
    const response = await postChat(frontDoor(model, withLogprobs(encode(model, "one two three four"))), userSays("Hi", { logprobs: true, stream: true, stop: " three" }));
    const tokens = chunksOf(response.text).flatMap((chunk) => chunk.choices.flatMap((choice) => choice.logprobs?.content ?? [])).map((token) => token.token);
    expect(tokens).toEqual(["one", " two"]);
  });

  it("are null when not asked for, and top_logprobs needs them", async () => {
    expect(((await postChat(frontDoor(model, answering("x")), userSays("Hi"))).json() as Answer).choices[0]!.logprobs).toBeNull();
    expectError(await postChat(frontDoor(model, answering("x")), userSays("Hi", { top_logprobs: 2 })), 400, "invalid_value", "top_logprobs");
    expectError(await postChat(frontDoor(model, answering("x")), userSays("Hi", { logprobs: true, top_logprobs: 21 })), 400, "invalid_value", "top_logprobs");
  });
});

describe("tools", () => {
  it("answers with tool calls, null content and their finish reason", async () => {
    const response = await postChat(frontDoor(model, answering(call)), userSays("Weather?", { tools: [weather, time] }));
    expect((response.json() as Answer).choices[0]).toMatchObject({
      message: { role: "assistant", content: null, tool_calls: [{ id: expect.stringMatching(/^call_[0-9a-f]{24}$/u) as string, type: "function", function: { name: "get_weather", arguments: '{"city": "Paris"}' } }] },
      finish_reason: "tool_calls",
    });
  });

  it("streams a call as OpenAI does: first id and name, then the arguments in pieces", async () => {
    const response = await postChat(frontDoor(model, answering(`I look.\n${call}\n${call}`)), userSays("Weather?", { tools: [weather], stream: true }));
    const deltas = chunksOf(response.text).flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
    expect(deltas.map((delta) => delta.content ?? "").join("")).toBe("I look.");
    const calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
    for (const index of [0, 1]) {
      const [first, ...rest] = calls.filter((each) => each.index === index);
      expect(first).toMatchObject({ id: expect.any(String) as string, type: "function", function: { name: "get_weather", arguments: "" } });
      expect(rest.length).toBeGreaterThan(1);
      expect(rest.map((each) => each.function.arguments).join("")).toBe('{"city": "Paris"}');
    }
    expect(chunksOf(response.text).at(-1)!.choices[0]!.finish_reason).toBe("tool_calls");
  });

  it("ends after the first call where parallel calls are not wanted", async () => {
    const generator = answering(`${call}\n${call}`);
    const response = await postChat(frontDoor(model, generator), userSays("Weather?", { tools: [weather], parallel_tool_calls: false }));
    const [choice] = (response.json() as Answer).choices;
    expect([choice!.message["tool_calls"], choice!.finish_reason]).toMatchObject([[{ function: { name: "get_weather" } }], "tool_calls"]);
    expect(choice!.message["tool_calls"]).toHaveLength(1);
    expect(generator.signals[0]!.aborted).toBe(true);
  });

  it("tells a model whose template knows no tools about them in the system message, and what was called and answered", async () => {
    const generator = answering("It is sunny.");
    await postChat(frontDoor(model, generator), {
      model: model.id, tools: [weather, time], tool_choice: "auto",
      messages: [
        { role: "system", content: "Be brief." }, { role: "user", content: "Weather?" },
        { role: "assistant", content: null, tool_calls: [{ id: "a", type: "function", function: { name: "get_weather", arguments: '{"city":"Paris"}' } }, { id: "b", type: "function", function: { name: "get_time", arguments: "{}" } }] },
        { role: "tool", tool_call_id: "a", content: "sunny" }, { role: "tool", tool_call_id: "b", content: "noon" },
      ],
    });
    const prompt = model.assistant.tokenizer.decode(generator.requests[0]!.prompt, { keepSpecial: true });
    expect(prompt).toMatch(/^<\|im_start\|>system\nBe brief\.\n\n# Tools/u);
    expect(prompt).toContain(JSON.stringify(weather));
    expect(prompt).toContain('assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city":"Paris"}}\n</tool_call>\n<tool_call>\n{"name": "get_time"');
    expect(prompt).toContain("user\n<tool_response>\nsunny\n</tool_response>\n<tool_response>\nnoon\n</tool_response><|im_end|>");
  });

  it("offers no tool where the choice is none, and only the named one where it names one", async () => {
    const generator = answering(call);
    const server = frontDoor(model, generator);
    const none = await postChat(server, userSays("Weather?", { tools: [weather], tool_choice: "none" }));
    expect((none.json() as Answer).choices[0]!.message["content"]).toBe(call);
    await postChat(server, userSays("Weather?", { tools: [weather, time], tool_choice: { type: "function", function: { name: "get_time" } } }));
    const prompt = model.assistant.tokenizer.decode(generator.requests[1]!.prompt);
    expect([prompt.includes("get_time"), prompt.includes("get_weather")]).toEqual([true, false]);
    expectError(await postChat(server, userSays("Weather?", { tools: [weather], tool_choice: { type: "function", function: { name: "other" } } })), 400, "invalid_value", "tool_choice");
    expectError(await postChat(server, userSays("Weather?", { tool_choice: "required" })), 400, "invalid_value", "tool_choice");
  });

  const withTemplate = (source: string): ServedModel => ({ ...model, assistant: { ...model.assistant, template: new ChatTemplate(new Map([["default", source]]), {}, "test") } });
  /** How these families' own templates write definitions, calls and results, cut down to that. */
  const families: readonly (readonly [string, string, string])[] = [
    ["Qwen", `{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for t in m.tool_calls or [] %}\n<tool_call>\n{"name": "{{ t.function.name }}", "arguments": {{ t.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}`, call],
    ["Mistral", `{% for tool in tools or [] %}[AVAILABLE_TOOLS]{{ tool | tojson }}{% endfor %}{% for m in messages %}{% if m.tool_calls is defined %}[TOOL_CALLS] [{% for t in m.tool_calls %}{"name": "{{ t.function.name }}", "arguments": {{ t.function.arguments | tojson }}, "id": "{{ t.id }}"}{% endfor %}]{% else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}`, '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}]'],
    ["Llama", `{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{% for m in messages %}<|h|>{{ m.role }}\n{% if m.tool_calls is defined %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}{% endfor %}`, '{"name": "get_weather", "parameters": {"city": "Paris"}}'],
  ];
  it.each(families)("reads %s's way of calling off its template", async (_name, template, text) => {
    const generator = answering(text);
    const response = await postChat(frontDoor(withTemplate(template), generator), userSays("Weather?", { tools: [weather] }));
    expect((response.json() as Answer).choices[0]).toMatchObject({ message: { tool_calls: [{ function: { name: "get_weather", arguments: '{"city": "Paris"}' } }] }, finish_reason: "tool_calls" });
    const prompt = model.assistant.tokenizer.decode(generator.requests[0]!.prompt, { keepSpecial: true });
    expect([prompt.includes("get_weather"), prompt.includes("# Tools")]).toEqual([true, false]);
  });

  it("separates what a thinking model says to itself", async () => {
    const thinking = withTemplate("{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt and enable_thinking is not defined %}<think>\n{% endif %}");
    const response = await postChat(frontDoor(thinking, answering("Hm.\n</think>\n\nYes.")), userSays("Hi"));
    expect((response.json() as Answer).choices[0]!.message).toEqual({ role: "assistant", content: "Yes.", refusal: null, reasoning_content: "Hm." });
    const streamed = await postChat(frontDoor(thinking, answering("Hm.\n</think>\n\nYes.")), userSays("Hi", { stream: true }));
    const deltas = chunksOf(streamed.text).flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
    expect(deltas.map((delta) => delta.reasoning_content ?? "").join("")).toBe("Hm.");
    const not = await postChat(frontDoor(thinking, answering("Yes.")), userSays("Hi", { chat_template_kwargs: { enable_thinking: false } }));
    expect((not.json() as Answer).choices[0]!.message["content"]).toBe("Yes.");
    const none = await postChat(frontDoor(thinking, answering("Yes.")), userSays("Hi", { reasoning_effort: "none" }));
    expect((none.json() as Answer).choices[0]!.message["content"]).toBe("Yes.");
  });
});
