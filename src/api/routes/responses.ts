/** `POST /v1/responses`, whole or as a stream; `GET` and `DELETE /v1/responses/{id}` of those that are stored. */
import type { FastifyInstance } from "fastify";
import { MinidError } from "../../core/errors.js";
import type { ChatMessage } from "../../model/chat-template.js";
import { type ChatJob, chatJob } from "../chat-job.js";
import { chatSteps } from "../chat-steps.js";
import type { RouteContext } from "../deps.js";
import { respondStream, respondWhole, type Run } from "../generation.js";
import { requireModel } from "../models.js";
import { principalOf } from "../principal.js";
import { type AnswerFrame, openFrame } from "../reattach/frame.js";
import { inputMessages, responsesWish } from "../responses/conversation.js";
import { type ResponseHead, responseObject } from "../responses/object.js";
import { type Emit, ResponseOutput } from "../responses/output.js";
import { ResponseStore } from "../responses/store.js";
import { type ResponsesRequest, responsesRequestSchema } from "../schemas/responses.js";
import { validate } from "../validate.js";

const endpoint = "/v1/responses";

export function responsesRoutes(server: FastifyInstance, context: RouteContext): void {
  const store = new ResponseStore();

  server.post(endpoint, async (request, reply) => {
    const body = validate(responsesRequestSchema, request.body);
    const model = requireModel(context.models, body.model);
    const frame = await openFrame(context, endpoint, request, reply);
    const owner = principalOf(request);
    const before = earlier(store, owner, body, frame);
    const id = frame.identity.newId("resp_");
    const job = chatJob(model, responsesWish(body, before), id, frame.identity);
    const begun = frame.begin(model.fingerprint, before.length > 0 ? JSON.stringify(before) : undefined);
    const head: ResponseHead = { id, createdAt: begun.created, model: model.id };
    const keep = (response: object, answer: ChatMessage) => {
      if (body.store !== false) store.put(head.id, owner, { response, messages: [...before, ...inputMessages(body.input), answer] });
      return response;
    };
    const call = { endpoint, request, reply, frame, chain: frame.chain(id, begun) };
    const work = { job, head, body, keep, newId: frame.identity.newId };
    if (!body.stream) return respondWhole(context, call, (run) => answered(run, { ...work, emit: () => {} }));
    let sequence = 0;
    const numbered = (event: object) => ({ ...event, sequence_number: sequence++ });
    return respondStream(context, call, async (run, stream) => {
      const emit: Emit = (event) => stream.send(numbered(event), event.type);
      const response = await answered(run, { ...work, emit });
      const status = (response as { readonly status: string }).status;
      emit({ type: `response.${status}`, response });
      stream.end();
    }, (error) => ({ event: "error", data: numbered({ type: "error", code: error.code, message: error.message, param: error.param ?? null }) }));
  });

  server.get<{ Params: { id: string } }>(`${endpoint}/:id`, (request) => requireStored(store, principalOf(request), request.params.id, "response_id").response);
  server.delete<{ Params: { id: string } }>(`${endpoint}/:id`, (request) => {
    const { id } = request.params;
    requireStored(store, principalOf(request), id, "response_id");
    store.delete(id, principalOf(request));
    return { id, object: "response.deleted", deleted: true };
  });
}

interface Work {
  readonly job: ChatJob;
  readonly head: ResponseHead;
  readonly body: ResponsesRequest;
  readonly emit: Emit;
  readonly keep: (response: object, answer: ChatMessage) => object;
  readonly newId: (prefix: string) => string;
}

async function answered(run: Run, { job, head, body, emit, keep, newId }: Work): Promise<object> {
  const output = new ResponseOutput(emit, newId);
  let response: object = {};
  let begun = false;
  for await (const { deltas, finished } of chatSteps(run, job)) {
    if (!begun) {
      begun = true;
      const initial = responseObject(head, body, { status: "in_progress" });
      emit({ type: "response.created", response: initial });
      emit({ type: "response.in_progress", response: initial });
    }
    output.add(deltas);
    if (!finished) continue;
    const complete = finished.reason !== "length";
    response = responseObject(head, body, { status: complete ? "completed" : "incomplete", output: output.end(complete), usage: finished.usage });
    const { content, calls } = output.message();
    keep(response, { role: "assistant", content, ...(calls.length > 0 && { tool_calls: calls }) });
  }
  return response;
}

/** The conversation that the request goes on with: what this node stores, or what came with an answer that was begun elsewhere. */
function earlier(store: ResponseStore, owner: string, { previous_response_id: previous }: ResponsesRequest, { knownContext }: AnswerFrame): readonly ChatMessage[] {
  if (!previous) return [];
  if (knownContext !== undefined && !store.get(previous, owner)) return JSON.parse(knownContext) as ChatMessage[];
  return requireStored(store, owner, previous, "previous_response_id").messages;
}

function requireStored(store: ResponseStore, owner: string, id: string, param: string) {
  const stored = store.get(id, owner);
  if (stored) return stored;
  throw new MinidError("not_found", `There is no response '${id.slice(0, 100)}' in this node's memory. Send the conversation itself.`, { param });
}
