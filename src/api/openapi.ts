/** The OpenAPI document, made from the schemas that validate. `test/unit/api/openapi.test.ts` keeps it complete. */
import { z } from "zod";
import { drainSchema, examineSchema } from "./routes/admin.js";
import { countTokensSchema, messagesRequestSchema } from "./schemas/anthropic.js";
import { chatRequestSchema } from "./schemas/chat.js";
import { completionRequestSchema } from "./schemas/completion.js";
import { embeddingsRequestSchema } from "./schemas/embeddings.js";
import { responsesRequestSchema } from "./schemas/responses.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "./schemas/tokenize.js";

interface Operation {
  readonly method: "get" | "post" | "delete";
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
  /** Answers with server-sent events when the body says `stream`. */
  readonly streams?: boolean;
  /** Of the answer, when it is not JSON. */
  readonly mediaType?: string;
}

const operations: readonly Operation[] = [
  { method: "post", path: "/v1/chat/completions", summary: "Answer a conversation (OpenAI)", body: chatRequestSchema, streams: true },
  { method: "post", path: "/v1/completions", summary: "Go on with a text (OpenAI)", body: completionRequestSchema, streams: true },
  { method: "post", path: "/v1/responses", summary: "Make a response (OpenAI)", body: responsesRequestSchema, streams: true },
  { method: "get", path: "/v1/responses/{id}", summary: "A stored response" },
  { method: "delete", path: "/v1/responses/{id}", summary: "Forget a stored response" },
  { method: "post", path: "/v1/messages", summary: "Answer a conversation (Anthropic)", body: messagesRequestSchema, streams: true },
  { method: "post", path: "/v1/messages/count_tokens", summary: "Tokens that a conversation has (Anthropic)", body: countTokensSchema },
  { method: "post", path: "/v1/embeddings", summary: "Texts as vectors (OpenAI)", body: embeddingsRequestSchema },
  { method: "post", path: "/tokenize", summary: "A text or a conversation as tokens", body: tokenizeRequestSchema },
  { method: "post", path: "/detokenize", summary: "Tokens as text", body: detokenizeRequestSchema },
  { method: "get", path: "/v1/models", summary: "The models served here" },
  { method: "get", path: "/v1/models/{id}", summary: "One model; its id may contain slashes" },
  { method: "get", path: "/health", summary: "200 only when a request would be served now, else 503 with reasons" },
  { method: "get", path: "/health/live", summary: "This process answers" },
  { method: "get", path: "/distributed/gpu-info", summary: "The devices of the cluster" },
  { method: "get", path: "/distributed/status", summary: "The whole status of the cluster" },
  { method: "get", path: "/distributed/plan", summary: "The current plan: model, layers, ring" },
  { method: "get", path: "/distributed/metrics-targets", summary: "Every member's /metrics, for Prometheus' http_sd_configs" },
  { method: "get", path: "/metrics", summary: "Prometheus metrics", mediaType: "text/plain" },
  { method: "post", path: "/admin/drain", summary: "Hand this machine's ranks over before maintenance, or take part again (admin scope)", body: drainSchema },
  { method: "post", path: "/admin/examine", summary: "What minid doctor finds on all machines, looked at now; takes seconds, with deep as long as reading the model takes (admin scope)", body: examineSchema },
  { method: "get", path: "/", summary: "The dashboard", mediaType: "text/html" },
  { method: "get", path: "/admin/logs", summary: "The cluster's log lines, one JSON object a line: lines, level, follow, node, request (admin scope)", mediaType: "application/x-ndjson" },
  { method: "get", path: "/openapi.json", summary: "This document" },
];

const errorSchema = {
  type: "object",
  properties: { error: { type: "object", properties: { message: { type: "string" }, type: { type: "string" }, param: { type: ["string", "null"] }, code: { type: "string" } }, required: ["message", "type", "param", "code"] } },
  required: ["error"],
};

export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) (paths[operation.path] ??= {})[operation.method] = operationObject(operation);
  return {
    openapi: "3.1.0",
    info: { title: "minid", version, description: "One self-healing inference service out of the machines on your network. Codes of errors: docs/ERRORS.md." },
    paths,
    components: { schemas: { Error: errorSchema } },
  };
}

function operationObject({ summary, body, streams, path, mediaType = "application/json" }: Operation): object {
  const answer = { [mediaType]: { schema: mediaType === "application/json" ? { type: "object" } : { type: "string" } }, ...(streams && { "text/event-stream": { schema: { type: "string" } } }) };
  const names = Array.from(path.matchAll(/\{(\w+)\}/gu), ([, name]) => name!);
  return {
    summary,
    ...(names.length > 0 && { parameters: names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })) }),
    ...(body && { requestBody: { required: true, content: { "application/json": { schema: jsonSchema(body) } } } }),
    responses: {
      200: { description: "The answer", content: answer },
      default: { description: "An error", content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } } },
    },
  };
}

/** What the client sends. The dialect's name is the document's affair. */
function jsonSchema(schema: z.ZodType): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return rest;
}
