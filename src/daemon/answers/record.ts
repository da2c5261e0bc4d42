/**
 * What is remembered of an answer that a client can ask for again (docs/adr/0020-reattachable-answers.md): who works on it, what its
 * objects are called, and its tokens so far. Not the request: the client sends it again. The tokens only save time, because
 * the request computes them again exactly; so a log may be cut off, and may be lost.
 */
import { type Epoch, compareEpochs } from "../../core/ids.js";
import type { GenerateEvent, GeneratedToken } from "../inference/generate.js";

/** Who may work on an answer: the highest claim of all. As with epochs: a counter, then the node that claims. */
export type Claim = Epoch;
export const isAbove = (a: Claim, b: Claim): boolean => compareEpochs(a, b) > 0;

/** What an answer says of itself and what its request alone does not decide. */
export interface AnswerHead {
  /** Unix seconds. */
  readonly created: number;
  readonly fingerprint: string;
  /** What the request only refers to: the conversation behind a `previous_response_id`, as JSON. */
  readonly context?: string;
}

export type FinishReason = Extract<GenerateEvent, { kind: "finished" }>["reason"];

/** Of one log: answers longer than this are computed again from there on. */
export const LOG_BYTES_MAX = 4 << 20;
const tokenBytes = 48;
const alternativeBytes = 24;

/** The tokens of one sequence, from the first on without a gap. */
export class AnswerLog {
  readonly #tokens: GeneratedToken[] = [];
  #bytes = 0;
  #full = false;
  cachedPromptTokens: number | undefined;
  finished: FinishReason | undefined;

  get tokens(): readonly GeneratedToken[] { return this.#tokens; }
  get bytes(): number { return this.#bytes; }

  /** Takes the tokens that it does not have. @returns false when some are missing in between. */
  append(tokens: readonly GeneratedToken[]): boolean {
    for (const token of tokens) {
      if (token.index < this.#tokens.length || this.#full) continue;
      if (token.index > this.#tokens.length) return false;
      this.#bytes += tokenBytes + alternativeBytes * (token.logprobs?.top.length ?? 0);
      if (this.#bytes > LOG_BYTES_MAX) this.#full = true;
      else this.#tokens.push(token);
    }
    return true;
  }

  finish(reason: FinishReason): void { if (!this.#full) this.finished = reason; }
}

export interface AnswerRecord {
  /** Hex SHA-256 of whose the key is and of the key. */
  readonly key: string;
  /** Hex SHA-256 of what was asked. */
  digest: string;
  claim: Claim;
  /** Undefined while nobody has begun to answer. */
  head: AnswerHead | undefined;
  /** By the id that the generator knows a sequence by. */
  readonly logs: Map<string, AnswerLog>;
}

export function logOf(record: AnswerRecord, requestId: string): AnswerLog {
  let log = record.logs.get(requestId);
  if (!log) record.logs.set(requestId, log = new AnswerLog());
  return log;
}

/** A part of a record on its way to another member: tokens from `firstIndex` on. */
export interface AnswerUpdate {
  readonly key: string;
  readonly digest: string;
  readonly claim: Claim;
  readonly head: AnswerHead;
  readonly logs: readonly LogPart[];
}

export interface LogPart {
  readonly requestId: string;
  readonly tokens: readonly GeneratedToken[];
  readonly cachedPromptTokens: number | undefined;
  readonly finished: FinishReason | undefined;
}

/** @param from of each log: how many tokens the other side has. */
export function partsOf(record: AnswerRecord, from: (requestId: string) => number): LogPart[] {
  return [...record.logs].map(([requestId, { tokens, cachedPromptTokens, finished }]) => ({ requestId, tokens: tokens.slice(from(requestId)), cachedPromptTokens, finished }));
}

/** @returns false when tokens are missing in between: the sender has to begin again. */
export function takeParts(record: AnswerRecord, parts: readonly LogPart[]): boolean {
  let whole = true;
  for (const { requestId, tokens, cachedPromptTokens, finished } of parts) {
    const log = logOf(record, requestId);
    log.cachedPromptTokens ??= cachedPromptTokens;
    if (!log.append(tokens)) whole = false;
    else if (finished !== undefined) log.finish(finished);
  }
  return whole;
}
