/**
 * One answer as pieces of text: calls the generator, assembles, and stops it as soon as the answer is over.
 * Whoever iterates and leaves early frees the sequence's slot as well.
 */
import { MinidError } from "../core/errors.js";
import type { GeneratedToken, Generator, GenerateRequest } from "../daemon/inference/generate.js";
import { AnswerText, type PieceDecoder } from "./answer-text.js";
import { untilAborted } from "./request-scope.js";

export interface AnswerRequest {
  readonly generate: GenerateRequest;
  readonly newDecoder: () => PieceDecoder;
  readonly stops: readonly string[];
  /** Asked after each piece: true ends the answer there, as a stop string would. */
  readonly over?: () => boolean;
}

export type AnswerPiece =
  /** `text` may be empty: it is not certain yet. `tokens` are those whose text is complete with it; `arrived` counts those that came. */
  | { readonly kind: "text"; readonly text: string; readonly tokens: readonly GeneratedToken[]; readonly arrived: number }
  /** `stop` names the stop string that ended the answer, if one did. */
  | { readonly kind: "finished"; readonly reason: "stop" | "length"; readonly stop: string | undefined; readonly usage: AnswerUsage };

export interface AnswerUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedPromptTokens: number;
}

/** @throws MinidError from the generator, or the signal's reason */
export async function* answer(generator: Generator, request: AnswerRequest, signal: AbortSignal): AsyncGenerator<AnswerPiece> {
  const text = new AnswerText({ decoder: request.newDecoder(), stopTokens: request.generate.stopTokens, stops: request.stops });
  let cachedPromptTokens = 0;
  const finished = (reason: "stop" | "length", stop?: string): AnswerPiece => ({
    kind: "finished",
    reason,
    stop,
    usage: { promptTokens: request.generate.prompt.length, completionTokens: text.completionTokens, cachedPromptTokens },
  });
  const over = new AbortController();
  const onAbort = () => over.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    for await (const event of untilAborted(generator.generate(request.generate, over.signal), over.signal)) {
      if (event.kind === "admitted") {
        cachedPromptTokens = event.cachedPromptTokens;
      } else if (event.kind === "tokens") {
        const piece = text.push(event.tokens);
        yield { kind: "text", text: piece.text, tokens: piece.tokens, arrived: event.tokens.length };
        if (piece.stop !== undefined || request.over?.() === true) {
          yield finished("stop", piece.stop);
          return;
        }
      } else {
        const last = text.end();
        cachedPromptTokens = event.cachedPromptTokens;
        if (last.text !== "" || last.tokens.length > 0) yield { kind: "text", text: last.text, tokens: last.tokens, arrived: 0 };
        yield finished(last.stop === undefined ? event.reason : "stop", last.stop);
        return;
      }
    }
    throw new MinidError("stage_lost", "The answer broke off before it was complete. Try again.");
  } finally {
    signal.removeEventListener("abort", onAbort);
    over.abort(new MinidError("cancelled", "The answer is over."));
  }
}
