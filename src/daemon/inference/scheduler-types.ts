/**
 * What goes into the scheduler and what comes out: plain data, so that a driver, a property test and the cluster
 * simulation can all be its world. Times are monotonic milliseconds handed in by the caller.
 */
import type { ErrorCode } from "../../core/errors.js";
import type { CacheOp, Pooling, Sampled, Sampling, StepSpan } from "../../core/worker-protocol.js";
import type { GeneratedToken, Priority } from "./generate.js";

/** The ring that is ready to compute. */
export interface RingPlan {
  /** Stages in the ring, and so the number of steps in flight that keep every machine busy. */
  readonly worldSize: number;
  /** Sequences whose cache is kept at once on every stage, cached prefixes included. */
  readonly slots: number;
  /** Tokens of key-value cache that the smallest stage has memory for, over all slots. */
  readonly kvTokensMax: number;
  /** Longest sequence in tokens, prompt and answer together. */
  readonly contextMax: number;
  /** Most spans of one step. */
  readonly batchMax: number;
  /** Most prompt tokens of one sequence in one step, 4..128; less counts as 4 (three rows could not be cut without leaving one alone). */
  readonly prefillChunk: number;
  /** `Engine.replay` of the ring: `decode` if any stage says so. */
  readonly engineReplay: "prefill" | "decode";
}

/** Fixed for the life of a scheduler. */
export interface SchedulerLimits {
  /** Requests that may wait; resumed ones may use the same number again, since they were let in before. */
  readonly queueMax: number;
  /** Longest that a step may be in flight before the ring counts as lost. */
  readonly stepTimeoutMs: number;
  /** Prompt tokens in a step that also serves decoding sequences: bounds what a long prompt adds to their token time. */
  readonly mixedPrefillTokens: number;
  /**
   * Tokens of an answer that memory is reserved for ahead of its length. Few answers come to `maxTokens`; when one outgrows what is
   * there, the youngest sequence goes back into the line and is computed again later. Infinity reserves every answer's longest.
   */
  readonly reserveAheadTokens: number;
  /** Shortest prefix worth keeping or sharing. */
  readonly prefixTokensMin: number;
  /** Cached prefixes unused for this long are dropped, and their memory returned. */
  readonly prefixIdleMs: number;
}

export const defaultSchedulerLimits: SchedulerLimits = {
  queueMax: 256,
  stepTimeoutMs: 30_000,
  mixedPrefillTokens: 64,
  reserveAheadTokens: 512,
  prefixTokensMin: 16,
  prefixIdleMs: 300_000,
};

export type SequenceId = number;

export interface SubmittedRequest {
  readonly prompt: readonly number[];
  readonly emitted: readonly number[];
  readonly sampling: Sampling;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  /** On the scheduler's clock, not a duration. */
  readonly deadlineAtMs?: number;
  readonly priority?: Priority;
  /** The prompt is to be embedded: it finishes with its embedding, and no token is emitted. */
  readonly pooling?: Pooling;
  /** For the logs of the workers. */
  readonly requestId?: string;
}

export interface SchedulerStep {
  /** 1 for the first step after `ready`, rising by one. The driver adds epoch and plan version. */
  readonly stepSeq: number;
  /** Happen before the spans, in order. */
  readonly ops: readonly CacheOp[];
  readonly spans: readonly StepSpan[];
}

export type SchedulerInput =
  | { readonly kind: "ready"; readonly plan: RingPlan }
  | { readonly kind: "notReady"; readonly reason: string }
  | { readonly kind: "submit"; readonly id: SequenceId; readonly request: SubmittedRequest }
  | { readonly kind: "cancel"; readonly id: SequenceId }
  | { readonly kind: "stepResult"; readonly stepSeq: number; readonly sampled: readonly Sampled[] }
  | { readonly kind: "stepFailed"; readonly code: ErrorCode; readonly message: string }
  /** Needed a few times a second for deadlines, the step timeout and idle prefixes. */
  | { readonly kind: "tick" };

export type SchedulerEffect =
  | { readonly kind: "sendStep"; readonly step: SchedulerStep }
  | { readonly kind: "admitted"; readonly id: SequenceId; readonly cachedPromptTokens: number; readonly queuedMs: number }
  | { readonly kind: "emit"; readonly id: SequenceId; readonly token: GeneratedToken }
  | { readonly kind: "finish"; readonly id: SequenceId; readonly reason: "stop" | "length"; readonly cachedPromptTokens: number; readonly embedding?: readonly number[] }
  | { readonly kind: "fail"; readonly id: SequenceId; readonly code: ErrorCode; readonly message: string; readonly retryAfterSeconds?: number }
  /** The stages may no longer be level: the Run stream must be closed, and nothing is sent until the next `ready`. */
  | { readonly kind: "ringLost"; readonly code: ErrorCode; readonly message: string };

/** For status and metrics. */
export interface SchedulerSnapshot {
  readonly ready: boolean;
  readonly queued: number;
  readonly running: number;
  readonly stepsInFlight: number;
  readonly slots: { readonly active: number; readonly cached: number; readonly total: number };
  /** In tokens: promised to running sequences, held by cached prefixes, and what the ring has. */
  readonly kvTokens: { readonly reserved: number; readonly cached: number; readonly max: number };
  readonly totals: SchedulerTotals;
}

/** Ever rising, since the scheduler was made. */
export interface SchedulerTotals {
  readonly steps: number;
  /** Computed as parts of prompts, replayed answers included. */
  readonly prefillTokens: number;
  readonly decodedTokens: number;
  /** Prompt tokens not computed because a cached prefix held them. */
  readonly cachedTokens: number;
  /** Tokens of answers that were computed again because their sequence was resumed or preempted. */
  readonly replayedTokens: number;
  /** Sequences that went back into the line because an older one needed their memory. */
  readonly preemptions: number;
}
