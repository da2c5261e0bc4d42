/** `POST /v1/chat/completions`, whole or as a stream. */
import type { FastifyInstance } from "fastify";
import { invariant } from "../../core/invariant.js";
import type { GeneratedToken } from "../../daemon/inference/generate.js";
import type { AnswerUsage } from "../answer.js";
import { type ChatJob, chatJob } from "../chat-job.js";
import { ChatMessageBuilder } from "../chat-message.js";
import { chatWish } from "../chat-wish.js";
import { ChatChunks, chatCompletion, type ChatHead, deltaObject } from "../chat-objects.js";
import { type ChatFinish, chatSteps, totalUsage } from "../chat-steps.js";
import type { RouteContext } from "../deps.js";
import { respondStream, respondWhole, type Run } from "../generation.js";
import { chatLogprobs } from "../logprobs.js";
import { requireModel } from "../models.js";
import { openFrame } from "../reattach/frame.js";
import { chatRequestSchema } from "../schemas/chat.js";
import type { SseStream } from "../sse.js";
import { validate } from "../validate.js";

const endpoint = "/v1/chat/completions";

export function chatCompletionsRoute(server: FastifyInstance, context: RouteContext): void {
  server.post(endpoint, async (request, reply) => {
    const body = validate(chatRequestSchema, request.body);
    const model = requireModel(context.models, body.model);
    const frame = await openFrame(context, endpoint, request, reply);
    const id = frame.identity.newId("chatcmpl-");
    const job = chatJob(model, chatWish(body), id, frame.identity);
    const begun = frame.begin(model.fingerprint);
    const head: ChatHead = { id, created: begun.created, model: model.id, system_fingerprint: begun.fingerprint };
    const call = { endpoint, request, reply, frame, chain: frame.chain(id, begun) };
    if (!body.stream) return respondWhole(context, call, (run) => whole(run, job, head));
    const chunks = new ChatChunks(head, body.stream_options?.include_usage === true);
    return respondStream(context, call, (run, stream) => sendChunks(run, job, chunks, stream));
  });
}

async function whole(run: Run, job: ChatJob, head: ChatHead): Promise<object> {
  const choices = Array.from({ length: job.choices }, () => ({
    message: new ChatMessageBuilder(),
    tokens: [] as GeneratedToken[],
    finished: undefined as { readonly reason: ChatFinish; readonly usage: AnswerUsage } | undefined,
  }));
  for await (const step of chatSteps(run, job)) {
    const choice = choices[step.choice]!;
    choice.message.add(step.deltas);
    if (job.logprobs) choice.tokens.push(...step.tokens);
    choice.finished = step.finished;
  }
  const { tokenizer } = job.model.assistant;
  const finished = choices.map(({ message, tokens, finished }) => {
    invariant(finished, "an answer ended without finishing");
    return { message, logprobs: job.logprobs ? chatLogprobs(tokenizer, tokens) : null, finishReason: finished.reason, usage: finished.usage };
  });
  return chatCompletion(head, finished, totalUsage(finished.map(({ usage }) => usage)));
}

async function sendChunks(run: Run, job: ChatJob, chunks: ChatChunks, stream: SseStream): Promise<void> {
  const begun = new Set<number>();
  const usages: AnswerUsage[] = [];
  for await (const { choice, deltas, tokens, finished } of chatSteps(run, job)) {
    if (!begun.has(choice)) {
      begun.add(choice);
      stream.send(chunks.choice(choice, { role: "assistant", content: "" }));
    }
    let logprobs = job.logprobs && tokens.length > 0 ? chatLogprobs(job.model.assistant.tokenizer, tokens) : null;
    for (const delta of deltas) {
      stream.send(chunks.choice(choice, deltaObject(delta), logprobs));
      logprobs = null;
    }
    // Tokens without text of their own, as in the middle of a character.
    if (logprobs !== null) stream.send(chunks.choice(choice, {}, logprobs));
    if (finished === undefined) continue;
    usages[choice] = finished.usage;
    stream.send(chunks.choice(choice, {}, null, finished.reason));
  }
  if (chunks.includeUsage) stream.send(chunks.usage(totalUsage(usages)));
  stream.end("[DONE]");
}
