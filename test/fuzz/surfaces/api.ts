/** The HTTP API as clients send to it: bodies and headers, and the ids of a stream's events. */
import { catalogue } from "../../../src/core/errors.js";
import { EventChain, eventIdText, parseEventId } from "../../../src/api/reattach/event-chain.js";
import { messagesRequestSchema } from "../../../src/api/schemas/anthropic.js";
import { chatRequestSchema } from "../../../src/api/schemas/chat.js";
import { completionRequestSchema } from "../../../src/api/schemas/completion.js";
import { responsesRequestSchema } from "../../../src/api/schemas/responses.js";
import { validate } from "../../../src/api/validate.js";
import type { Random } from "../../chaos/random.js";
import { below, mutateText, mutatedJson, mutatedJsonText, text } from "../mutate.js";
import { Fault, type Surface, refusalOrResult } from "../surface.js";
import { modelId, openDoor } from "./door.js";

const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false };
const tool = { type: "function", function: { name: "f", description: "d", parameters: schema, strict: true } };
const conversation = [{ role: "system", content: "Be brief." }, { role: "user", content: [{ type: "text", text: "Hi" }] }, { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{\"x\": 1}" } }] }, { role: "tool", tool_call_id: "c1", content: "5" }];

export const bodies: readonly (readonly [string, object])[] = [
  ["/v1/chat/completions", { model: modelId, messages: conversation, stream: true, stream_options: { include_usage: true }, max_tokens: 8, stop: ["x"], n: 2, logprobs: true, top_logprobs: 2, temperature: 0.5, top_p: 0.9, seed: 5, logit_bias: { 5: 1 }, tools: [tool], tool_choice: "auto", user: "u", metadata: { a: "b" } }],
  ["/v1/chat/completions", { model: modelId, messages: conversation.slice(0, 2), max_completion_tokens: 8, response_format: { type: "json_schema", json_schema: { name: "s", schema, strict: true } }, chat_template_kwargs: { enable_thinking: false }, top_k: 5, min_p: 0.1, repetition_penalty: 1.1, ignore_eos: true, service_tier: "flex" }],
  ["/v1/completions", { model: modelId, prompt: ["One", "Two"], max_tokens: 5, n: 2, best_of: 2, echo: true, stop: "\n", logprobs: null, suffix: null, stream: true, frequency_penalty: 0.5 }],
  ["/v1/completions", { model: modelId, prompt: [1, 2, 3], max_tokens: 5, logprobs: 2, presence_penalty: -1 }],
  ["/v1/responses", { model: modelId, input: [{ role: "user", content: [{ type: "input_text", text: "Hi" }] }, { type: "function_call", call_id: "c", name: "f", arguments: "{}" }, { type: "function_call_output", call_id: "c", output: "5" }], instructions: "Be brief.", max_output_tokens: 16, stream: true, tools: [{ type: "function", name: "f", parameters: schema }], text: { format: { type: "json_schema", name: "s", schema } }, store: true }],
  ["/v1/messages", { model: modelId, max_tokens: 8, system: [{ type: "text", text: "Be brief." }], messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }, { role: "assistant", content: [{ type: "tool_use", id: "t", name: "f", input: {} }] }, { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "5" }] }], stream: true, tools: [{ name: "f", input_schema: schema }], tool_choice: { type: "auto" }, stop_sequences: ["x"], top_k: 3, metadata: { user_id: "u" } }],
  ["/v1/messages/count_tokens", { model: modelId, messages: [{ role: "user", content: "Hi" }] }],
  ["/v1/embeddings", { model: modelId, input: ["Hi", "there"], encoding_format: "base64" }],
  ["/tokenize", { model: modelId, content: "Hi" }],
  ["/detokenize", { model: modelId, tokens: [1, 2, 3] }],
];

const schemas = [chatRequestSchema, chatRequestSchema, completionRequestSchema, completionRequestSchema, responsesRequestSchema, messagesRequestSchema] as const;

const requestSchema: Surface = {
  name: "http-schema", about: "bodies of the generating endpoints against their schemas", cases: 50_000, slice: 200,
  open: () => ({
    run: (random) => {
      const at = below(random, schemas.length);
      refusalOrResult(() => validate(schemas[at]!, mutatedJson(random, bodies[at]![1])));
    },
  }),
};

const headerNames = ["timeout", "x-request-id", "idempotency-key", "last-event-id", "content-type", "authorization", "x-api-key", "accept", "host", "origin", "x-forwarded-for", "content-encoding", "expect", "anthropic-version"];
const printable = (words: string) => words.replaceAll(/[^\x20-\x7e\x80-\xff]/gu, "");

const request: Surface = {
  name: "http-request", about: "whole requests through the front door: bodies, headers, addresses, methods", cases: 10_000, slice: 40,
  open: async () => {
    const { server, bugs } = await openDoor({ requestTimeoutMs: 60_000 });
    return {
      run: async (random) => {
        const [url, body] = random.pick(bodies);
        const payload = random.chance(0.9) ? mutatedJsonText(random, body) : JSON.stringify(body);
        const headers: Record<string, string> = { "content-type": random.chance(0.95) ? "application/json" : printable(text(random)) };
        if (random.chance(0.4)) headers[random.pick(headerNames)] = random.chance(0.5) ? printable(text(random)) : printable(mutateText(random, "1.t4k2bm.9f86d081884c7d65"));
        if (random.chance(0.1)) headers["idempotency-key"] = `k${below(random, 5)}`;
        const response = await server.inject({ method: random.chance(0.95) ? "POST" : random.pick(["GET", "PUT", "DELETE", "OPTIONS", "HEAD"]), url: random.chance(0.95) ? url : printable(mutateText(random, url)).replaceAll(" ", "%20") || "/", payload, headers });
        if (bugs.length > 0) throw new Fault(`${url} met a bug: ${bugs.splice(0).join("\n")}\nbody: ${payload.slice(0, 2_000)}`);
        if (response.statusCode === 200) return;
        if (response.statusCode >= 300 && response.statusCode < 400) throw new Fault(`it answered ${response.statusCode}`);
        if (response.body === "") return;
        const { error } = JSON.parse(response.body) as { readonly error?: { readonly code?: string; readonly type?: string; readonly message: string } };
        const known = error?.code === undefined ? error?.type : error.code;
        if (known === undefined || (error?.code !== undefined && !Object.hasOwn(catalogue, error.code))) throw new Fault(`${response.statusCode} without a code of the catalogue: ${response.body}`);
        if (response.statusCode === 500 && error?.code !== "structured_output_failed") throw new Fault(`${response.statusCode} ${response.body}\nbody: ${payload.slice(0, 2_000)}`);
      },
      close: () => server.close(),
    };
  },
};

const eventIds: Surface = {
  name: "event-id", about: "Last-Event-ID: forged and damaged, and what a stream makes of it", cases: 350_000, slice: 400,
  open: () => {
    const stream = (random: Random) => Array.from({ length: 1 + below(random, 6) }, (_, at) => `{"n":${at}}`);
    return {
      run: (random) => {
        const events = stream(random);
        const chain = new EventChain("a", 1_700_000_000, undefined);
        const ids = events.map((data) => chain.next(data)!);
        const at = below(random, ids.length);
        const header = random.chance(0.4) ? ids[at]! : mutateText(random, ids[at]!);
        const last = refusalOrResult(() => parseEventId(header));
        if (!last) return;
        const again = new EventChain("a", last.created, last);
        const rest = refusalOrResult(() => {
          const told = events.map((data) => again.next(data)).filter((id) => id !== undefined);
          again.end();
          return told;
        });
        // Exactly what is missing, or nothing.
        if (rest && (last.number > ids.length || rest.length !== ids.length - last.number || (last.number > 0 && eventIdText({ ...last, created: 1_700_000_000 }) !== ids[last.number - 1]))) throw new Fault(`${JSON.stringify(header)} was continued with ${rest.length} of ${ids.length} events`);
      },
    };
  },
};

export const apiSurfaces: readonly Surface[] = [requestSchema, eventIds, request];
