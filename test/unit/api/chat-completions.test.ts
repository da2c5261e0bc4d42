import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import { encode, endOfTurn, events, expectError, frontDoor, modelId, postChat, saying, ScriptedGenerator, smolModel, userSays } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));

/** The pieces of content in a stream. */
const contents = (body: string): string[] => events(body).filter((data) => data !== "[DONE]")
  .flatMap((data) => (JSON.parse(data) as { choices: { delta: { content?: string } }[] }).choices.map((choice) => choice.delta.content ?? ""));

describe("POST /v1/chat/completions", () => {
  it("answers with OpenAI's chat.completion object", async () => {
    const generator = answering("Paris is the capital.");
    const response = await postChat(frontDoor(model, generator), userSays("What is the capital of France?", { temperature: 0 }));
    expect(response.status).toBe(200);
    const promptTokens = generator.requests[0]!.prompt.length;
    const completionTokens = encode(model, "Paris is the capital.").length + 1;
    expect(response.json()).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{24}$/u),
      object: "chat.completion",
      created: expect.any(Number),
      model: modelId,
      system_fingerprint: "fp_test",
      choices: [{ index: 0, message: { role: "assistant", content: "Paris is the capital.", refusal: null }, logprobs: null, finish_reason: "stop" }],
      usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens, prompt_tokens_details: { cached_tokens: 3 } },
    });
  });

  it("renders the model's chat template into the prompt", async () => {
    const generator = answering("ok");
    await postChat(frontDoor(model, generator), { model: modelId, messages: [{ role: "developer", content: [{ type: "text", text: "Be" }, { type: "text", text: "brief." }] }, { role: "user", content: "Hi" }] });
    expect(model.assistant.tokenizer.decode(generator.requests[0]!.prompt, { keepSpecial: true }))
      .toBe("<|im_start|>system\nBe\nbrief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  });

  it("hands over sampling parameters, bound and stop tokens, with OpenAI's defaults for the rest", async () => {
    const generator = answering("ok");
    const server = frontDoor(model, generator, {}, { requestTimeoutMs: 50_000 });
    await postChat(server, userSays("Hi", { temperature: 0.5, top_p: 0.9, top_k: 40, min_p: 0.05, repetition_penalty: 1.1, frequency_penalty: 0.2, presence_penalty: -0.3, logit_bias: { 5: -100 }, seed: -1, max_tokens: 9 }));
    expect(generator.requests[0]).toMatchObject({
      modelId, maxTokens: 9, stopTokens: model.assistant.stopTokens, emitted: [],
      sampling: { temperature: 0.5, topP: 0.9, topK: 40, minP: 0.05, repetitionPenalty: 1.1, frequencyPenalty: 0.2, presencePenalty: -0.3, logitBias: new Map([[5, -100]]), seed: 2 ** 53 - 1 },
    });
    expect(generator.requests[0]!.deadlineMs).toBeLessThanOrEqual(50_000);
    await postChat(server, userSays("Hi", { temperature: null, stop: null, max_completion_tokens: 7, max_tokens: 9, ignore_eos: true, top_k: -1 }));
    expect(generator.requests[1]).toMatchObject({
      maxTokens: 7, stopTokens: [],
      sampling: { temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map() },
    });
    expect(Number.isSafeInteger(generator.requests[1]!.sampling.seed)).toBe(true);
  });

  it("lets requests of the flex tier wait behind the others", async () => {
    const generator = answering("ok");
    for (const tier of ["auto", "flex"]) await postChat(frontDoor(model, generator), userSays("Hi", { service_tier: tier }));
    expect(generator.requests.map((request) => request.priority)).toEqual([undefined, "batch"]);
  });

  it("never gives two requests one id, whatever request id the client sends", async () => {
    const generator = answering("ok");
    const server = frontDoor(model, generator);
    for (let i = 0; i < 2; i += 1) await server.inject({ method: "POST", url: "/v1/chat/completions", headers: { "x-request-id": "mine" }, payload: userSays("Hi") });
    expect(generator.requests[0]!.requestId).not.toBe(generator.requests[1]!.requestId);
  });

  it("leaves the answer what the context leaves, whatever the client asks for", async () => {
    const generator = answering("ok");
    await postChat(frontDoor(model, generator), userSays("Hi", { max_tokens: 100_000 }));
    const [request] = generator.requests;
    expect(request!.maxTokens).toBe(8_192 - request!.prompt.length);
  });

  it("refuses a prompt that leaves no room, and takes one that leaves room for one token", async () => {
    const probe = answering("ok");
    await postChat(frontDoor(model, probe), userSays("Hi"));
    const promptTokens = probe.requests[0]!.prompt.length;
    const refused = await postChat(frontDoor({ ...model, contextMax: promptTokens }, answering("ok")), userSays("Hi"));
    expectError(refused, 400, "context_length_exceeded", "messages");
    const taken = await postChat(frontDoor({ ...model, contextMax: promptTokens + 1 }, answering("ok")), userSays("Hi"));
    expect(taken.json()).toMatchObject({ choices: [{ finish_reason: "length" }], usage: { completion_tokens: 1 } });
  });

  it("ends at a stop string, leaves it out and stops the generator", async () => {
    const generator = answering("one two three four");
    const response = await postChat(frontDoor(model, generator), userSays("Count", { stop: [" three", "never"] }));
    expect(response.json()).toMatchObject({ choices: [{ message: { content: "one two" }, finish_reason: "stop" }], usage: { completion_tokens: 3 } });
    expect(generator.signals[0]!.aborted).toBe(true);
  });

  it("streams OpenAI's chunks: the role first, then text, then the finish reason, then [DONE]", async () => {
    const response = await postChat(frontDoor(model, answering("Hello there")), userSays("Hi", { stream: true }));
    expect(response.status).toBe(200);
    expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(response.headers["cache-control"]).toBe("no-cache, no-transform");
    expect(response.headers["x-accel-buffering"]).toBe("no");
    expect(response.headers["x-request-id"]).toMatch(/^req_/u);
    const all = events(response.text);
    expect(all.pop()).toBe("[DONE]");
    const chunks = all.map((data) => JSON.parse(data) as { id: string; usage?: unknown; choices: object[] });
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(chunks[0]).toEqual({ id: expect.stringMatching(/^chatcmpl-/u), object: "chat.completion.chunk", created: expect.any(Number), model: modelId, system_fingerprint: "fp_test", choices: [{ index: 0, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }] });
    expect(chunks.at(-1)!.choices).toEqual([{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }]);
    expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true);
    expect(contents(response.text).join("")).toBe("Hello there");
  });

  it("sends the usage in a last chunk of its own when asked to", async () => {
    const response = await postChat(frontDoor(model, answering("Hello")), userSays("Hi", { stream: true, stream_options: { include_usage: true } }));
    const chunks = events(response.text).slice(0, -1).map((data) => JSON.parse(data) as { usage: unknown; choices: object[] });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 2, prompt_tokens_details: { cached_tokens: 3 } } });
  });

  it("never cuts a character in the stream, however its bytes fall on tokens", async () => {
    const text = "Ünïcode 👩‍👩‍👧‍👦 漢字 ✨ done";
    const response = await postChat(frontDoor(model, answering(text)), userSays("Hi", { stream: true }));
    const pieces = contents(response.text);
    expect(pieces.join("")).toBe(text);
    expect(pieces.filter((piece) => piece.includes("\uFFFD") || /\p{Surrogate}/u.test(piece))).toEqual([]);
    expect(encode(model, text).length).toBeGreaterThan(pieces.filter((piece) => piece !== "").length);
  });

  it("never leaks the beginning of a stop string into the stream", async () => {
    const response = await postChat(frontDoor(model, answering("The answer is 42. Observation: nothing")), userSays("Hi", { stream: true, stop: "\nObservation:" }));
    expect(contents(response.text).join("")).toBe("The answer is 42. Observation: nothing");
    const stopped = await postChat(frontDoor(model, answering("The answer is 42.\nObservation: nothing")), userSays("Hi", { stream: true, stop: "\nObservation:" }));
    expect(contents(stopped.text).join("")).toBe("The answer is 42.");
    expect(contents(stopped.text).some((piece) => piece.includes("\n"))).toBe(false);
  });

  it("answers with an HTTP error as long as nothing has been generated, streaming or not", async () => {
    const full = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("queue_full", "The queue is full.", { retryAfterSeconds: 7 }); });
    for (const stream of [false, true]) {
      const response = await postChat(frontDoor(model, full), userSays("Hi", { stream }));
      expectError(response, 429, "queue_full", null);
      expect(response.headers["retry-after"]).toBe("7");
      expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
    }
  });

  it("tells an error in the middle of a stream as its last event, without [DONE]", async () => {
    const breaking = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: encode(model, "Hi")[0]!, index: 0 }] };
      throw new MinidError("stage_lost", "Rank 1 is gone.");
    });
    const response = await postChat(frontDoor(model, breaking), userSays("Hi", { stream: true }));
    expect(response.status).toBe(200);
    expect(JSON.parse(events(response.text).at(-1)!)).toEqual({ error: { message: "Rank 1 is gone.", type: "server_error", param: null, code: "stage_lost" } });
  });

  it("does not show a bug's insides to the client", async () => {
    const buggy = new ScriptedGenerator(async function* script() { yield* []; throw new TypeError("secret detail"); });
    const response = await postChat(frontDoor(model, buggy), userSays("Hi"));
    expectError(response, 500, "internal_error", null);
    expect(response.text).not.toContain("secret detail");
  });

  it("reports an answer that breaks off as retryable", async () => {
    const short = new ScriptedGenerator(async function* script() { yield { kind: "admitted", cachedPromptTokens: 0 }; });
    expectError(await postChat(frontDoor(model, short), userSays("Hi")), 503, "stage_lost", null);
  });

  it("tells the observer about first token, gaps and outcome", async () => {
    const seen: string[] = [];
    const observer = {
      begin: () => undefined,
      firstToken: () => { seen.push("first"); },
      interToken: () => { seen.push("gap"); },
      finished: (outcome: { code: string; completionTokens: number }) => { seen.push(`${outcome.code} ${outcome.completionTokens}`); },
    };
    const tokens = encode(model, "one two three").length;
    await postChat(frontDoor(model, answering("one two three"), { observer }), userSays("Hi"));
    expect(seen).toEqual(["first", ...Array.from({ length: tokens }, () => "gap"), `ok ${tokens + 1}`]);
  });
});
