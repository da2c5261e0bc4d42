/** Anthropic's `POST /v1/messages`, whole or as a stream, and `/v1/messages/count_tokens`. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { invariant } from "../../core/invariant.js";
import { anthropicConversation, anthropicShape } from "../anthropic/conversation.js";
import { anthropicErrorBody, anthropicErrorEvent } from "../anthropic/errors.js";
import { MessageEvents, type MessageHead, messageObject } from "../anthropic/objects.js";
import { type ChatJob, chatJob } from "../chat-job.js";
import { ChatMessageBuilder } from "../chat-message.js";
import { chatPrompt } from "../chat-prompt.js";
import { type ChatStep, chatSteps } from "../chat-steps.js";
import type { RouteContext } from "../deps.js";
import { errorHeaders, publicError } from "../error-response.js";
import { respondStream, respondWhole, type Run } from "../generation.js";
import { newId } from "../ids.js";
import { requireModel } from "../models.js";
import { openFrame } from "../reattach/frame.js";
import { countTokensSchema, messagesRequestSchema } from "../schemas/anthropic.js";
import { validate } from "../validate.js";

const endpoint = "/v1/messages";

export function messagesRoutes(server: FastifyInstance, context: RouteContext): void {
  const errorHandler = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const error = publicError(thrown, request.id, context.log);
    void reply.code(error.httpStatus).headers(errorHeaders(error)).send(anthropicErrorBody(error, request.id));
  };

  server.post(endpoint, { errorHandler }, async (request, reply) => {
    reply.header("request-id", request.id);
    const body = validate(messagesRequestSchema, request.body);
    const model = requireModel(context.models, body.model);
    const frame = await openFrame(context, endpoint, request, reply);
    const head: MessageHead = { id: frame.identity.newId("msg_"), model: model.id };
    const job = chatJob(model, {
      conversation: { ...anthropicConversation(body), shape: anthropicShape(body) },
      sampling: body,
      maxTokens: body.max_tokens,
      stops: body.stop_sequences ?? [],
      choices: 1,
      topLogprobs: undefined,
      param: "messages",
    }, head.id, frame.identity);
    const call = { endpoint, request, reply, frame, chain: frame.chain(head.id, frame.begin(model.fingerprint)) };
    if (!body.stream) return respondWhole(context, call, (run) => whole(run, job, head));
    return respondStream(context, call, async (run, stream) => {
      const events = new MessageEvents(stream, head, job.answer.generate.prompt.length);
      for await (const { deltas, finished } of chatSteps(run, job)) {
        events.begin();
        for (const delta of deltas) events.delta(delta);
        if (finished) events.end(finished);
      }
    }, anthropicErrorEvent(request.id));
  });

  server.post(`${endpoint}/count_tokens`, { errorHandler }, (request) => {
    const body = validate(countTokensSchema, request.body);
    return { input_tokens: chatPrompt(requireModel(context.models, body.model), anthropicConversation(body), newId).tokens.length };
  });
}

async function whole(run: Run, job: ChatJob, head: MessageHead): Promise<object> {
  const message = new ChatMessageBuilder();
  let last: ChatStep["finished"];
  for await (const { deltas, finished } of chatSteps(run, job)) {
    message.add(deltas);
    last = finished;
  }
  invariant(last, "an answer ended without finishing");
  return messageObject(head, message, last);
}
