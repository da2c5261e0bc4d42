/**
 * One generation in the scheduler: the tokens known so far, how many of them are in the ring's cache or on their way there,
 * and which rows may be computed next.
 *
 * A prompt's chunks are all known and may follow each other through the ring in several steps at once. A decoding sequence may
 * be in two: its next step is sent while the token that it feeds is still being sampled (the worker fills it in), so that
 * the ring need not wait for the scheduler between two tokens. Never in three: a token that ends the answer makes the step behind it useless.
 */
import { invariant } from "../../core/invariant.js";
import type { Pooling } from "../../core/worker-protocol.js";
import type { SequenceId, SubmittedRequest } from "./scheduler-types.js";

/** A chunk bound below this could not cut three rows without leaving one alone. */
export const chunkRowsMin = 4;

/**
 * Rows of the next prefill chunk: never one and never leaving one (FACTS: a lone row is rounded differently by some kernels),
 * except for a prompt of a single token.
 * @returns 0 when the budget does not allow any.
 */
export function chunkRows(remaining: number, budget: number): number {
  if (remaining <= budget) return remaining;
  const rows = remaining - budget === 1 ? budget - 1 : budget;
  return rows >= 2 ? rows : 0;
}

export class Sequence {
  readonly id: SequenceId;
  readonly request: SubmittedRequest;
  /** Place in the order of admission and of prefill: lower goes first. */
  readonly orderMs: number;
  readonly submittedMs: number;
  /** Prompt, then the answer so far. */
  readonly tokens: number[];
  readonly stopTokens: ReadonlySet<number>;
  /** Most tokens that the sequence may come to. */
  readonly lengthMax: number;

  /** Leading tokens that are computed in chunks; the rest goes row by row through the decode path. */
  prefillEnd: number;
  /** Tokens known when it was last admitted: what lies before them is computed again. */
  knownAtStart: number;
  slot = -1;
  /** True once its slot has been opened: then `scheduled` counts. */
  started = false;
  /** Leading tokens that are in the cache, or will be when the steps in flight are done. */
  scheduled = 0;
  /** Leading tokens that only the `lacking` ranks compute, because the others kept them. */
  heldEnd = 0;
  lacking: readonly number[] = [];
  /** Steps in flight that have rows of it. */
  inflight = 0;
  /** Those of them that sample: so many tokens beyond `tokens` are on their way. */
  awaiting = 0;
  /** Finished, failed or cancelled: nothing more is emitted, and the slot is freed when nothing is in flight. */
  ended = false;
  /** Its memory is wanted by an older sequence: it goes back into the line when nothing of it is in flight. */
  preempting = false;
  /** Waits for memory. */
  paused = false;
  /** Has been told of its admission: a sequence that was preempted is admitted again in silence. */
  announced = false;
  cachedPromptTokens = 0;
  lastStepSeq = 0;
  readonly #replay: "prefill" | "decode";

  constructor(id: SequenceId, request: SubmittedRequest, times: { submittedMs: number; orderMs: number }, ring: { replay: "prefill" | "decode"; lengthMax: number }) {
    this.id = id;
    this.request = request;
    this.submittedMs = times.submittedMs;
    this.orderMs = times.orderMs;
    this.tokens = [...request.prompt, ...request.emitted];
    this.stopTokens = new Set(request.stopTokens);
    this.#replay = ring.replay;
    this.prefillEnd = ring.replay === "prefill" ? this.tokens.length : request.prompt.length;
    this.knownAtStart = this.tokens.length;
    this.lengthMax = ring.lengthMax;
  }

  get promptLength(): number { return this.request.prompt.length; }
  /** Of a sequence that is embedded: it ends with its last row. */
  get pooling(): Pooling | undefined { return this.request.pooling; }
  get prefilling(): boolean { return this.scheduled < this.prefillEnd; }
  /** Until the end of what is computed alike: by every rank, or by those that lack it. */
  get prefillRemaining(): number { return (this.scheduled < this.heldEnd ? this.heldEnd : this.prefillEnd) - this.scheduled; }
  /** Has a known token to send through the decode path. */
  get decodable(): boolean { return this.started && !this.ended && !this.preempting && !this.prefilling && this.scheduled < this.tokens.length; }
  /** May feed the one token that is on its way, if the answer goes on after it. */
  get aheadable(): boolean {
    if (!this.started || this.ended || this.preempting || this.paused || this.pooling) return false;
    return this.awaiting === 1 && this.scheduled === this.tokens.length && this.tokens.length + 1 < this.lengthMax;
  }
  /** Longest prefix that may come from elsewhere: what remains must be a chunk, never one row. An embedding wants every row computed, and leaves the prefixes of conversations alone. */
  get sharableMax(): number { return this.pooling ? 0 : this.prefillEnd - 2; }

  /** Back to where a resumed sequence begins: everything known is to be computed again, with the same bits. */
  restart(): void {
    this.prefillEnd = this.#replay === "prefill" ? this.tokens.length : this.promptLength;
    this.knownAtStart = this.tokens.length;
    this.slot = -1;
    this.scheduled = 0;
    this.heldEnd = 0;
    this.lacking = [];
    this.started = false;
    this.preempting = false;
    this.paused = false;
  }

  /** Appends a sampled token. @returns why the answer is complete now, if it is. */
  append(token: number): "stop" | "length" | undefined {
    const ahead = this.scheduled - this.tokens.length;
    invariant(ahead === 0 || ahead === 1, `sequence ${this.id} sampled with ${this.scheduled} of ${this.tokens.length} tokens computed`);
    this.tokens.push(token);
    if (this.stopTokens.has(token)) return "stop";
    return this.tokens.length >= this.lengthMax ? "length" : undefined;
  }
}
