/** What the front door tells metrics, as it happens. Implementations must not throw and must not block. */
import type { ErrorCode } from "../core/errors.js";
import type { Clock } from "../core/clock.js";
import type { AnswerPiece } from "./answer.js";

export interface RequestObserver {
  /** A request that generates has come. @returns the trace context to send along, when it is traced. */
  begin(request: { readonly endpoint: string; readonly requestId: string; readonly traceparent: string | undefined }): string | undefined;
  /** From the request's arrival to its first token. */
  firstToken(seconds: number, requestId: string): void;
  /** Between two arrivals of tokens of one answer, divided by the tokens that came. */
  interToken(seconds: number): void;
  /** An answer is over, well or not. Token counts are those known by then. */
  finished(outcome: Outcome): void;
}

export interface Outcome {
  readonly endpoint: string;
  readonly requestId: string;
  readonly code: ErrorCode | "ok";
  readonly seconds: number;
  /** From the request's arrival; undefined when there was none. */
  readonly firstTokenSeconds: number | undefined;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Why each of the request's answers ended, as far as they did. */
  readonly reasons: readonly ("stop" | "length")[];
}

export const noObserver: RequestObserver = { begin: () => undefined, firstToken() {}, interToken() {}, finished() {} };

export interface Tally { promptTokens: number; completionTokens: number; firstTokenSeconds: number | undefined; readonly reasons: ("stop" | "length")[] }

/** Passes the pieces on, counts their tokens and reports when they came. */
export async function* timed(pieces: AsyncIterable<AnswerPiece>, startedMs: number, clock: Clock, observer: RequestObserver, requestId: string, tally: Tally, onTokens: (count: number) => void): AsyncGenerator<AnswerPiece> {
  let lastMs: number | undefined;
  for await (const piece of pieces) {
    if (piece.kind === "text" && piece.arrived > 0) {
      const now = clock.now();
      if (lastMs === undefined) {
        const seconds = (now - startedMs) / 1000;
        tally.firstTokenSeconds ??= seconds;
        observer.firstToken(seconds, requestId);
      }
      else observer.interToken((now - lastMs) / 1000 / piece.arrived);
      lastMs = now;
      tally.completionTokens += piece.arrived;
      onTokens(piece.arrived);
    }
    if (piece.kind === "finished") tally.reasons.push(piece.reason);
    yield piece;
  }
}
