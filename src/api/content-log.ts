/** Prompts and answers in the log, for whoever switched `log_content` on to find out what an application really asks. Bounded by line. */
import type { FastifyRequest } from "fastify";
import type { Log } from "../core/log.js";
import type { AnswerPiece } from "./answer.js";

const charsMax = 16_384;

export function logQuestion(log: Log, request: FastifyRequest): void {
  log.info({ requestId: request.id, body: JSON.stringify(request.body).slice(0, charsMax) }, "content: asked");
}

/** Passes the pieces on, and logs their text when they end, however they do. */
export async function* logAnswer(log: Log, requestId: string, pieces: AsyncIterable<AnswerPiece>): AsyncGenerator<AnswerPiece> {
  let text = "";
  try {
    for await (const piece of pieces) {
      if (piece.kind === "text" && text.length < charsMax) text += piece.text;
      yield piece;
    }
  } finally {
    log.info({ requestId, text: text.slice(0, charsMax) }, "content: answered");
  }
}
