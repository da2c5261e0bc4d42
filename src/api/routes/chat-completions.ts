/** `POST /v1/chat/completions`, whole or as a stream. */
import type { FastifyInstance } from "fastify";
import { invariant } from "../../core/invariant.js";
import type { AnswerPiece } from "../answer.js";
import { chatJob } from "../chat-job.js";
import { ChatChunks, chatCompletion, type ChatHead } from "../chat-objects.js";
import type { RouteContext } from "../deps.js";
import { respondStream, respondWhole } from "../generation.js";
import { newId } from "../ids.js";
import { chatRequestSchema } from "../schemas/chat.js";
import type { SseStream } from "../sse.js";
import { validate } from "../validate.js";

const endpoint = "/v1/chat/completions";

export function chatCompletionsRoute(server: FastifyInstance, context: RouteContext): void {
  server.post(endpoint, (request, reply) => {
    const body = validate(chatRequestSchema, request.body);
    const id = newId("chatcmpl-");
    const job = chatJob(context.models, body, id);
    const head: ChatHead = { id, created: Math.floor(context.clock.wallMs() / 1000), model: job.model.id, system_fingerprint: job.model.fingerprint };
    const call = { endpoint, request, reply };
    if (!body.stream) return respondWhole(context, call, (run) => whole(run.answer(job.answer), head));
    const chunks = new ChatChunks(head, body.stream_options?.include_usage === true);
    return respondStream(context, call, (run, stream) => sendChunks(run.answer(job.answer), chunks, stream));
  });
}

async function whole(pieces: AsyncIterable<AnswerPiece>, head: ChatHead): Promise<object> {
  let content = "";
  let finished: Extract<AnswerPiece, { kind: "finished" }> | undefined;
  for await (const piece of pieces) {
    if (piece.kind === "text") content += piece.text;
    else finished = piece;
  }
  invariant(finished, "an answer ended without finishing");
  return chatCompletion(head, [{ content, finishReason: finished.reason }], finished.usage);
}

async function sendChunks(pieces: AsyncIterable<AnswerPiece>, chunks: ChatChunks, stream: SseStream): Promise<void> {
  let begun = false;
  for await (const piece of pieces) {
    if (!begun) stream.send(chunks.delta(0, { role: "assistant", content: "" }));
    begun = true;
    if (piece.kind === "text") {
      if (piece.text !== "") stream.send(chunks.delta(0, { content: piece.text }));
    } else {
      stream.send(chunks.delta(0, {}, piece.reason));
      if (chunks.includeUsage) stream.send(chunks.usage(piece.usage));
    }
  }
  stream.end("[DONE]");
}
