import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { encode, endOfTurn, events, frontDoor, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));

async function post(generator: ScriptedGenerator, url: string, body: object) {
  const response = await frontDoor(model, generator).inject({ method: "POST", url, payload: { model: modelId, ...body } });
  return { status: response.statusCode, text: response.body, json: () => response.json<Record<string, unknown>>() };
}
const complete = (generator: ScriptedGenerator, body: object) => post(generator, "/v1/completions", body);

describe("POST /v1/completions", () => {
  it("goes on with the text, 16 tokens unless told otherwise", async () => {
    const generator = answering(" upon a time");
    const response = await complete(generator, { prompt: "Once" });
    expect(response.json()).toMatchObject({ id: expect.stringMatching(/^cmpl-/u) as string, object: "text_completion", model: modelId, system_fingerprint: "fp_test", choices: [{ text: " upon a time", index: 0, logprobs: null, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 4, total_tokens: 5 } });
    expect(generator.requests[0]).toMatchObject({ prompt: encode(model, "Once"), maxTokens: 16 });
  });

  it("takes texts, tokens and several of either, and answers in their order", async () => {
    for (const prompt of [["Once", "Twice"], [encode(model, "Once"), encode(model, "Twice")]]) {
      const generator = new ScriptedGenerator((request, signal) => saying([...encode(model, request.prompt[0] === encode(model, "Once")[0] ? "a" : "b"), endOfTurn])(request, signal));
      const { choices, usage } = (await complete(generator, { prompt, n: 2 })).json();
      expect((choices as { text: string; index: number }[]).map(({ text, index }) => [index, text])).toEqual([[0, "a"], [1, "a"], [2, "b"], [3, "b"]]);
      expect(usage).toMatchObject({ prompt_tokens: 2 + encode(model, "Twice").length - 1, completion_tokens: 8 });
    }
    const tokens = answering("x");
    await complete(tokens, { prompt: [5, 6] });
    expect(tokens.requests.map((request) => request.prompt)).toEqual([[5, 6]]);
  });

  it("repeats the prompt on request", async () => {
    expect((await complete(answering(" upon"), { prompt: "Once", echo: true })).json()).toMatchObject({ choices: [{ text: "Once upon" }] });
    const streamed = await complete(answering(" upon"), { prompt: "Once", echo: true, stream: true });
    expect(events(streamed.text).slice(0, -1).map((data) => (JSON.parse(data) as { choices: { text: string }[] }).choices[0]!.text).join("")).toBe("Once upon");
  });

  it("reports log probabilities as lists", async () => {
    const [one, two] = encode(model, " one two");
    const generator = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: one!, index: 0, logprobs: { logprob: -0.1, top: [{ token: one!, logprob: -0.1 }] } }, { token: two!, index: 1, logprobs: { logprob: -0.2, top: [] } }] };
      yield { kind: "finished", reason: "length", cachedPromptTokens: 0 };
    });
    expect((await complete(generator, { prompt: "Zero", logprobs: 1 })).json()).toMatchObject({ choices: [{ logprobs: { tokens: [" one", " two"], token_logprobs: [-0.1, -0.2], top_logprobs: [{ " one": -0.1 }, {}], text_offset: [0, 4] } }] });
  });

  it("keeps the likeliest of best_of answers", async () => {
    const generator = new ScriptedGenerator(async function* script(request) {
      const logprob = request.requestId.endsWith("-1") ? -0.1 : -3;
      yield { kind: "tokens", tokens: [{ token: encode(model, request.requestId.endsWith("-1") ? "good" : "bad")[0]!, index: 0, logprobs: { logprob, top: [] } }] };
      yield { kind: "finished", reason: "length", cachedPromptTokens: 0 };
    });
    const { choices, usage } = (await complete(generator, { prompt: "Is it", best_of: 3 })).json();
    expect(choices).toMatchObject([{ text: "good", logprobs: null }]);
    expect([choices, usage]).toMatchObject([{ length: 1 }, { completion_tokens: 3 }]);
  });

  it("streams chunks of text, then the finish reason, the usage and [DONE]", async () => {
    const response = await complete(answering(" upon a time"), { prompt: "Once", stream: true, stream_options: { include_usage: true } });
    const all = events(response.text);
    expect(all.pop()).toBe("[DONE]");
    const chunks = all.map((data) => JSON.parse(data) as { choices: { text: string; finish_reason: string | null }[]; usage: unknown });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 4 } });
    expect(chunks.at(-2)).toMatchObject({ choices: [{ text: "", finish_reason: "stop" }], usage: null });
    expect(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join("")).toBe(" upon a time");
  });
});

describe("/tokenize and /detokenize", () => {
  it("are each other's reverse, special tokens included", async () => {
    const text = "<|im_start|>user\nHé 👍<|im_end|>";
    const { tokens, count, max_model_len: most } = (await post(answering("x"), "/tokenize", { prompt: text })).json();
    expect([tokens, count, most]).toEqual([encode(model, text), encode(model, text).length, 8_192]);
    expect((await post(answering("x"), "/detokenize", { tokens })).json()).toEqual({ prompt: text });
  });

  it("count a conversation as the chat endpoint does", async () => {
    const generator = answering("x");
    const messages = [{ role: "user", content: "Hi" }];
    await frontDoor(model, generator).inject({ method: "POST", url: "/v1/chat/completions", payload: { model: modelId, messages } });
    expect((await post(generator, "/tokenize", { messages })).json()["tokens"]).toEqual(generator.requests[0]!.prompt);
    expect((await post(generator, "/tokenize", { prompt: "Hi there", return_token_strs: true })).json()["token_strs"]).toEqual(["Hi", " there"]);
  });
});
