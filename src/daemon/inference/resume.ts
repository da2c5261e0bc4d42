/**
 * How an answer survives whatever computes it: the decisions of the front door, as a pure core. It remembers the tokens that
 * were delivered, and after every retryable failure it asks for a ready leader and calls again with all of them.
 *
 * Invariant: delivered tokens have the indexes 0, 1, 2, … without a gap or a repetition, whatever the attempts say.
 * One attempt at a time; what an abandoned attempt still says is ignored.
 */
import { type BackoffPolicy, backoffMs } from "../../core/backoff.js";
import { type ErrorCode, MinidError } from "../../core/errors.js";
import { invariant, unreachable } from "../../core/invariant.js";
import type { GenerateEvent, GenerateRequest, GeneratedToken } from "./generate.js";

/** Attempts in a row that a ring may begin to compute and break under without a single new token: then the request itself is at fault. */
const fruitlessAttemptsMax = 30;
/** Between attempts: a leader that is gone, and not yet known to be, is not called in a tight loop; the longest pause is what a repaired ring may wait for us. */
const retryBackoff: BackoffPolicy = { initialMs: 20, factor: 2, maxMs: 250 };

/** Retryable for the client, but not by us behind its back. */
const finalCodes: ReadonlySet<ErrorCode> = new Set(["cancelled", "deadline_exceeded"]);

export type ResumeInput =
  | { readonly kind: "start" }
  /** A leader is ready. */
  | { readonly kind: "leader" }
  | { readonly kind: "event"; readonly attempt: number; readonly event: GenerateEvent }
  | { readonly kind: "failed"; readonly attempt: number; readonly error: MinidError }
  /** @param why what the cluster lacks, when it is not ready. */
  | { readonly kind: "deadline"; readonly why: MinidError | undefined };

export type ResumeEffect =
  | { readonly kind: "findLeader"; readonly delayMs: number }
  | { readonly kind: "call"; readonly attempt: number; readonly request: GenerateRequest }
  | { readonly kind: "deliver"; readonly event: GenerateEvent }
  | { readonly kind: "recovered"; readonly recovery: Recovery }
  | { readonly kind: "fail"; readonly error: MinidError };

/** One interruption of one answer, from the last thing heard to the next new token. */
export interface Recovery {
  /** Of the first failure. */
  readonly cause: ErrorCode;
  /** From the last event of the broken attempt to the failure. */
  readonly detectMs: number;
  /** From the failure to a call that was answered, unsuccessful ones included. */
  readonly waitMs: number;
  /** From that call to its first token. */
  readonly replayMs: number;
  readonly attempts: number;
  /** Tokens of the answer that had to be given to the new ring. */
  readonly replayedTokens: number;
}

interface Interruption { readonly cause: ErrorCode; readonly detectMs: number; readonly failedMs: number; readonly tokens: number; attempts: number }

export class ResumableAnswer {
  readonly #request: GenerateRequest;
  readonly #deadlineAtMs: number | undefined;
  readonly #tokens: number[];
  #phase: "new" | "waiting" | "calling" | "done" = "new";
  #attempt = 0;
  #calledMs = 0;
  #heardMs = 0;
  #admitted = false;
  #cachedPromptTokens: number | undefined;
  /** Failures since the last new token, and those of them that came while a ring computed. */
  #failures = 0;
  #fruitless = 0;
  #lastError: MinidError | undefined;
  #interruption: Interruption | undefined;

  constructor(request: GenerateRequest, nowMs: number) {
    this.#request = request;
    this.#tokens = [...request.emitted];
    this.#deadlineAtMs = request.deadlineMs === undefined ? undefined : nowMs + request.deadlineMs;
  }

  step(input: ResumeInput, nowMs: number): ResumeEffect[] {
    if (this.#phase === "done") return [];
    switch (input.kind) {
      case "start":
        invariant(this.#phase === "new", "an answer is started once");
        this.#phase = "waiting";
        return [{ kind: "findLeader", delayMs: 0 }];
      case "leader": return this.#call(nowMs);
      case "event": return this.#phase === "calling" && input.attempt === this.#attempt ? this.#event(input.event, nowMs) : [];
      case "failed": return this.#phase === "calling" && input.attempt === this.#attempt ? this.#failed(input.error, nowMs) : [];
      case "deadline": return this.#fail(this.#deadlineError(input.why));
      default: return unreachable(input);
    }
  }

  #call(nowMs: number): ResumeEffect[] {
    invariant(this.#phase === "waiting", "a leader came to an answer that was not waiting for one");
    this.#phase = "calling";
    this.#attempt += 1;
    this.#calledMs = nowMs;
    this.#heardMs = nowMs;
    this.#admitted = false;
    if (this.#interruption) this.#interruption.attempts += 1;
    const left = this.#deadlineAtMs === undefined ? {} : { deadlineMs: Math.max(1, this.#deadlineAtMs - nowMs) };
    return [{ kind: "call", attempt: this.#attempt, request: { ...this.#request, ...left, emitted: [...this.#tokens] } }];
  }

  #event(event: GenerateEvent, nowMs: number): ResumeEffect[] {
    this.#heardMs = nowMs;
    switch (event.kind) {
      case "admitted": {
        this.#admitted = true;
        if (this.#cachedPromptTokens !== undefined) return [];
        this.#cachedPromptTokens = event.cachedPromptTokens;
        return [{ kind: "deliver", event }];
      }
      case "tokens": {
        const fresh = event.tokens.filter((token) => this.#take(token));
        if (fresh.length === 0) return [];
        return [...this.#recovered(nowMs), { kind: "deliver", event: { kind: "tokens", tokens: fresh } }];
      }
      case "finished": {
        this.#phase = "done";
        const cachedPromptTokens = this.#cachedPromptTokens ?? event.cachedPromptTokens;
        return [...this.#recovered(nowMs), { kind: "deliver", event: { ...event, cachedPromptTokens } }];
      }
      default: return unreachable(event);
    }
  }

  /** @returns false for a token that was delivered before. */
  #take(token: GeneratedToken): boolean {
    invariant(token.index <= this.#tokens.length, `token ${token.index} of request ${this.#request.requestId} came after token ${this.#tokens.length - 1}: one was lost`);
    if (token.index < this.#tokens.length) return false;
    this.#tokens.push(token.token);
    this.#failures = 0;
    this.#fruitless = 0;
    return true;
  }

  #failed(error: MinidError, nowMs: number): ResumeEffect[] {
    const interrupted = this.#admitted || this.#tokens.length > this.#request.emitted.length;
    if (!error.retryable || finalCodes.has(error.code)) return this.#fail(error);
    // The first refusal is the client's to hear; an answer that was let in once waits for its place.
    if (error.code === "queue_full" && !interrupted && !this.#interruption) return this.#fail(error);
    if (this.#admitted) this.#fruitless += 1;
    if (this.#fruitless > fruitlessAttemptsMax) return this.#fail(error);
    if (interrupted) this.#interruption ??= { cause: error.code, detectMs: nowMs - this.#heardMs, failedMs: nowMs, tokens: this.#tokens.length, attempts: 0 };
    this.#lastError = error;
    this.#phase = "waiting";
    this.#failures += 1;
    return [{ kind: "findLeader", delayMs: backoffMs(retryBackoff, this.#failures - 1) }];
  }

  #recovered(nowMs: number): ResumeEffect[] {
    const interruption = this.#interruption;
    if (!interruption) return [];
    this.#interruption = undefined;
    const { cause, detectMs, failedMs, tokens, attempts } = interruption;
    return [{ kind: "recovered", recovery: { cause, detectMs, waitMs: this.#calledMs - failedMs, replayMs: nowMs - this.#calledMs, attempts, replayedTokens: tokens } }];
  }

  #fail(error: MinidError): ResumeEffect[] {
    this.#phase = "done";
    return [{ kind: "fail", error }];
  }

  /** While nothing computes, the reason is the cluster's state, and a client may try again when that has changed. */
  #deadlineError(why: MinidError | undefined): MinidError {
    const delivered = `${this.#tokens.length} tokens of the answer were delivered`;
    const cause = why ?? this.#lastError;
    if (this.#phase === "calling" || !cause) return new MinidError("deadline_exceeded", `The deadline passed before the answer was complete: ${delivered}.`);
    return new MinidError(cause.code, `${cause.message} (waited until the request's deadline; ${delivered})`, { cause });
  }
}
