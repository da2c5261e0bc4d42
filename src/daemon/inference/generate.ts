/**
 * The seam between a front door and the scheduler: one call, one sequence, one stream of tokens.
 * On rank 0 it is an in-process call, elsewhere the `Generate` rpc of `proto/agent.proto`; both are this interface.
 * A front door that is cut off calls again with `emitted` = every token it already holds, and the answer goes on from there.
 */

import type { Epoch } from "../../core/ids.js";
import type { Pooling } from "../../core/worker-protocol.js";

/** OpenAI's and the field's sampling parameters, validated and with their defaults filled in. */
export interface SamplingParams {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 is off. */
  readonly topK: number;
  /** 1 is off. */
  readonly topP: number;
  /** 0 is off. */
  readonly minP: number;
  /** 1 is off (Keskar et al. 2019): over prompt and answer. */
  readonly repetitionPenalty: number;
  /** 0 is off (OpenAI's definition): over the answer only. */
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** An integer in [0, 2^53): with the position it decides the random numbers. */
  readonly seed: number;
  /** How many alternatives to report for each token; undefined: no logprobs at all. */
  readonly topLogprobs?: number;
  /** What the answer must match: `Grammar` of src/model/grammar/grammar.ts as JSON text. Undefined: anything. */
  readonly grammar?: string;
}

export interface GenerateRequest {
  /** Unique for one client request, the same across resumes: for logs and for refusing doubles. */
  readonly requestId: string;
  /** What the client's request is called in logs, traces and exemplars (its `x-request-id`); several sequences may share one. Absent: `requestId`. */
  readonly clientRequestId?: string;
  readonly modelId: string;
  readonly prompt: readonly number[];
  /** Tokens of the answer that the front door already holds; empty at first. */
  readonly emitted: readonly number[];
  readonly sampling: SamplingParams;
  /** Most tokens of the whole answer, `emitted` included; at least 1. */
  readonly maxTokens: number;
  /** A token of this set ends the answer; it is reported as the last token. */
  readonly stopTokens: readonly number[];
  /** Milliseconds from now until the answer must be complete; undefined: no deadline. */
  readonly deadlineMs?: number;
  /** The prompt is to be embedded: nothing is generated, and `finished` brings the embedding. */
  readonly pooling?: Pooling;
  /** `batch` waits behind `interactive` (the default), but not for ever. */
  readonly priority?: Priority;
  /** W3C trace context of the client's request; absent when it is not traced. */
  readonly traceparent?: string;
  /** Of an answer that can be asked for again: whose turn it is. A call with a lower claim than that of the same request under way is refused. */
  readonly claim?: Epoch;
}

export type Priority = "interactive" | "batch";

export interface TokenLogprobs {
  readonly logprob: number;
  /** Most likely first. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

export interface GeneratedToken {
  readonly token: number;
  /** 0-based index in the answer: the first token after `emitted` has index `emitted.length`. */
  readonly index: number;
  readonly logprobs?: TokenLogprobs;
}

export type GenerateEvent =
  | { readonly kind: "tokens"; readonly tokens: readonly GeneratedToken[] }
  /** Comes once, when the sequence leaves the queue: what an undisturbed answer will report at its end. */
  | { readonly kind: "admitted"; readonly cachedPromptTokens: number }
  /** `stop`: a stop token was sampled (and reported). `length`: maxTokens or the context is used up. */
  | { readonly kind: "finished"; readonly reason: "stop" | "length"; readonly cachedPromptTokens: number; /** Of a request with `pooling`: [hiddenSize], not of unit length. */ readonly embedding?: readonly number[] };

export interface Generator {
  /**
   * Ends after `finished`. Aborting the signal frees the sequence's slot within a step.
   * @throws MinidError with `retryable` true when calling again with a longer `emitted` may succeed.
   */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
}

