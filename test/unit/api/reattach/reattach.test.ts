/** A stream that breaks goes on at another front door, byte for byte, whatever was kept of it. */
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../../src/api/served-model.js";
import { millis } from "../../../../src/core/ids.js";
import { MinidError } from "../../../../src/core/errors.js";
import type { SharedAnswers } from "../../../../src/daemon/answers/shared-answers.js";
import type { GenerateEvent, GenerateRequest, Generator } from "../../../../src/daemon/inference/generate.js";
import { AnswersNet } from "../../daemon/answers/net.js";
import { encode, endOfTurn, expectError, frontDoor, modelId, smolModel } from "../support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });
const nets: AnswersNet[] = [];
afterEach(() => { for (const net of nets.splice(0)) net.stop(); });

const key = { "idempotency-key": "6d1f0f7e-key" };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';
const parameters = { type: "object", properties: { city: { type: "string" } } };
const openAiTool = { type: "function", function: { name: "get_weather", parameters } };
const user = [{ role: "user", content: "Weather?" }];

/** Says another text for every choice, from wherever the caller is, and a random number of tokens together; a request without a seed would not get the same one twice. */
class Ring implements Generator {
  readonly requests: GenerateRequest[] = [];
  /** Breaks down, for good, after so many tokens of a sequence. */
  breaksAt = Number.POSITIVE_INFINITY;

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    this.requests.push(request);
    const { emitted, sampling, maxTokens, requestId } = request;
    const choice = requestId.split("-").length;
    const text = encode(model, `Ünïcödé ${sampling.seed % 97} 🦊 of choice ${choice}, let me see.\n${call}\nThat was it.`).slice(0, 40 + 3 * choice);
    const all = [...text, endOfTurn].slice(0, maxTokens);
    // What is cached now is not what was cached when the answer began.
    yield { kind: "admitted", cachedPromptTokens: 3 + emitted.length };
    let at = emitted.length;
    while (at < all.length) {
      await new Promise((resolve) => { setImmediate(resolve); });
      if (signal.aborted) throw signal.reason as Error;
      if (at >= this.breaksAt) throw new MinidError("internal_error", "broken");
      const together = all.slice(at, at + 1 + ((at * 7 + this.requests.length) % 3));
      yield { kind: "tokens", tokens: together.map((token, offset) => ({ token, index: at + offset, ...(sampling.topLogprobs === undefined ? {} : { logprobs: { logprob: -0.5 - at - offset, top: [{ token: 5, logprob: -0.25 }] } }) })) };
      at += together.length;
    }
    yield { kind: "finished", reason: all.at(-1) === endOfTurn ? "stop" : "length", cachedPromptTokens: 3 };
  }
}

/** A front door of its own process: its clock, its fingerprint, its memory. */
function door(answers: SharedAnswers | undefined, ring = new Ring(), wallMs = 1_700_000_000_000): { readonly server: FastifyInstance; readonly ring: Ring } {
  const clock = { now: () => millis(performance.now()), wallMs: () => wallMs };
  return { server: frontDoor(model, ring, { clock, ...(answers ? { answers } : {}) }), ring };
}
function network(count: number): AnswersNet {
  const net = new AnswersNet(count);
  nets.push(net);
  return net;
}

async function post(server: FastifyInstance, url: string, body: object, headers: Record<string, string> = key) {
  const response = await server.inject({ method: "POST", url, payload: { model: modelId, ...body }, headers });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: () => response.json<Record<string, unknown>>() };
}

const blocksOf = (text: string): string[] => text.split("\n\n").filter((block) => /^id: /mu.test(block)).map((block) => `${block}\n\n`);
const idOf = (block: string): string => /^id: (.*)$/mu.exec(block)![1]!;

const cases: readonly (readonly [string, string, object])[] = [
  ["chat completions", "/v1/chat/completions", { messages: user, stream: true, stream_options: { include_usage: true } }],
  ["chat completions with tools, choices and logprobs", "/v1/chat/completions", { messages: user, stream: true, n: 3, tools: [openAiTool], logprobs: true, top_logprobs: 1, stream_options: { include_usage: true } }],
  ["chat completions with a stop string", "/v1/chat/completions", { messages: user, stream: true, stop: ["let me"] }],
  ["completions of several prompts", "/v1/completions", { prompt: ["One", "Two"], n: 2, echo: true, max_tokens: 20, stream: true, stream_options: { include_usage: true } }],
  ["responses", "/v1/responses", { input: "Weather?", stream: true, tools: [{ type: "function", ...openAiTool.function }] }],
  ["messages", "/v1/messages", { messages: user, max_tokens: 60, stream: true, tools: [{ name: "get_weather", input_schema: parameters }] }],
];

describe.each(cases)("%s", (_, url, body) => {
  it("goes on after an event, at a front door that has the record or has nothing", async () => {
    const whole = (await post(door(undefined).server, url, body)).text;
    const blocks = blocksOf(whole);
    expect(blocks.join("")).toBe(whole);
    expect(new Set(blocks.map(idOf)).size).toBe(blocks.length);
    expect(blocks.length).toBeGreaterThan(5);
    const net = network(2);
    await post(door(net.nodes[0]).server, url, body);
    // The second node's clock is another one.
    const second = door(net.nodes[1], new Ring(), 1_800_000_000_000);
    for (const at of [0, 1, 2, blocks.length >> 2, blocks.length >> 1, blocks.length - 3, blocks.length - 2, blocks.length - 1]) {
      const last = { ...key, "last-event-id": idOf(blocks[at]!) };
      const rest = blocks.slice(at + 1).join("");
      const kept = await post(second.server, url, body, last);
      expect(kept.text).toBe(rest);
      const computed = await post(door(undefined, new Ring(), 1_800_000_000_000).server, url, body, last);
      expect({ status: computed.status, type: computed.headers["content-type"], text: computed.text }).toEqual({ status: 200, type: "text/event-stream; charset=utf-8", text: rest });
    }
  });

  it("goes on from the tokens that were kept when the first door broke down", async () => {
    const whole = blocksOf((await post(door(undefined).server, url, body)).text);
    const net = network(2);
    const broken = new Ring();
    broken.breaksAt = 9;
    const first = blocksOf((await post(door(net.nodes[0], broken).server, url, body)).text);
    expect(whole.slice(0, first.length)).toEqual(first);
    expect(first.length).toBeGreaterThan(0);
    const second = door(net.nodes[1], new Ring(), 1_800_000_000_000);
    const rest = await post(second.server, url, body, { ...key, "last-event-id": idOf(first.at(-1)!) });
    expect([...first, ...blocksOf(rest.text)]).toEqual(whole);
    expect(rest.headers["idempotent-replayed"]).toBe("true");
  });

  it("is replayed when it is not streamed", async () => {
    const net = network(3);
    const plain = { ...body, stream: false, stream_options: undefined };
    const first = await post(door(net.nodes[0]).server, url, plain);
    expect(first.status).toBe(200);
    expect(first.headers["idempotent-replayed"]).toBe("false");
    const again = await post(door(net.nodes[2], new Ring(), 1_800_000_000_000).server, url, plain);
    expect(again.json()).toEqual(first.json());
    expect(again.headers["idempotent-replayed"]).toBe("true");
    const other = await post(door(net.nodes[2]).server, url, plain, { "idempotency-key": "another" });
    expect(other.json()["id"]).not.toBe(first.json()["id"]);
  });
});

describe("a request with an Idempotency-Key", () => {
  const [, url, body] = cases[0]!;

  it("is refused with another body, at every node, and answered with the first one", async () => {
    const net = network(2);
    await post(door(net.nodes[0]).server, url, body);
    for (const node of net.nodes) expectError(await post(door(node).server, url, { ...body, temperature: 0.5 }), 422, "idempotency_key_reused", "Idempotency-Key");
    expectError(await post(door(net.nodes[1]).server, "/v1/completions", { prompt: "Weather?" }), 422, "idempotency_key_reused", "Idempotency-Key");
    expect((await post(door(net.nodes[1]).server, url, body)).status).toBe(200);
  });

  it("leaves its key free when it was itself at fault", async () => {
    const net = network(2);
    expect((await post(door(net.nodes[0]).server, url, { ...body, tool_choice: "required" })).status).toBe(400);
    expect((await post(door(net.nodes[1]).server, url, body)).status).toBe(200);
  });

  it("is its API key's own: another key's request with the same one is another answer", async () => {
    const net = network(2);
    const named = (keyId: string) => ({ keyId, name: keyId, scopes: ["inference" as const], limits: {} });
    const keys = { find: (text: string) => named(text) };
    const ask = async (node: number, apiKey: string, temperature: number) => post(frontDoor(model, new Ring(), { answers: net.nodes[node]!, keys }), url, { ...body, stream: false, stream_options: undefined, temperature }, { ...key, authorization: `Bearer ${apiKey}` });
    const mine = await ask(0, "alice", 0.1);
    expect((await ask(1, "bob", 0.2)).status).toBe(200);
    expect((await ask(1, "alice", 0.1)).json()).toEqual(mine.json());
    expect((await ask(1, "alice", 0.2)).status).toBe(422);
  });

  it("continues exactly or not at all", async () => {
    const blocks = blocksOf((await post(door(undefined).server, url, body)).text);
    const [number, created, hash] = idOf(blocks[4]!).split(".") as [string, string, string];
    const last = (id: string) => post(door(undefined).server, url, body, { ...key, "last-event-id": id });
    for (const id of [`5.${created}.${"0".repeat(16)}`, `4.${created}.${hash}`, `900.${created}.${hash}`, `${number}.${(1).toString(36)}.${hash}`]) {
      expectError(await last(id), 409, "answer_diverged", "Last-Event-ID");
    }
    // Another model, or an engine of another kind.
    const other = new Ring();
    other.generate = async function* generate(request) { yield { kind: "tokens", tokens: [{ token: 700, index: 0 }] }; yield { kind: "finished", reason: "stop", cachedPromptTokens: request.prompt.length }; };
    expectError(await post(door(undefined, other).server, url, body, { ...key, "last-event-id": idOf(blocks[4]!) }), 409, "answer_diverged", "Last-Event-ID");
  });

  it("needs sound headers", async () => {
    const { server } = door(undefined);
    for (const bad of ["", "x".repeat(256), '""', "ключ"]) expectError(await post(server, url, body, { "idempotency-key": bad }), 400, "invalid_value", "Idempotency-Key");
    for (const bad of ["5", "5.abc", "x.1.0123456789abcdef", "5.1.0123456789abcdeg", `5.1.${"a".repeat(17)}`]) expectError(await post(server, url, body, { ...key, "last-event-id": bad }), 400, "invalid_value", "Last-Event-ID");
    expectError(await post(server, url, body, { "last-event-id": "5.abc.0123456789abcdef" }), 400, "invalid_value", "Last-Event-ID");
    expect((await post(server, url, body, { "idempotency-key": '"quoted"', "last-event-id": "" })).status).toBe(200);
  });

  it("has the same seed and names anywhere, and others under another key", async () => {
    const seeds = async (headers: Record<string, string>) => {
      const { server, ring } = door(undefined);
      const { text } = await post(server, url, body, headers);
      return [ring.requests[0]!.sampling.seed, /"id":"([^"]+)"/u.exec(text)![1]];
    };
    expect(await seeds(key)).toEqual(await seeds(key));
    expect(await seeds(key)).not.toEqual(await seeds({ "idempotency-key": "another" }));
    expect(await seeds({})).not.toEqual(await seeds({}));
  });

  it("goes on with a stored response that only the first node had", async () => {
    const net = network(2);
    const first = door(net.nodes[0]);
    const earlier = (await post(first.server, "/v1/responses", { input: "Remember the fox." }, {})).json()["id"];
    const next = { input: "Which animal?", previous_response_id: earlier, stream: true };
    const whole = blocksOf((await post(first.server, "/v1/responses", next)).text);
    const second = door(net.nodes[1]);
    expect((await post(second.server, "/v1/responses", next, { "idempotency-key": "another" })).status).toBe(404);
    const rest = await post(second.server, "/v1/responses", next, { ...key, "last-event-id": idOf(whole[3]!) });
    expect(blocksOf(rest.text)).toEqual(whole.slice(4));
  });

  it("streams without ids when it has no key", async () => {
    const { text } = await post(door(undefined).server, url, body, {});
    expect(text).not.toMatch(/^id: /mu);
    expect(text).toContain("[DONE]");
  });
});
