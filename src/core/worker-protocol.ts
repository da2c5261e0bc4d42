/**
 * The messages of `proto/worker.proto` as TypeScript sees them (`loadProto`'s conventions: camelCase, numbers, enum names).
 * Worker and daemon share these and nothing else; the client is `worker-client.ts`.
 *
 * Rules of a step that senders must know (docs/PROTOCOL.md has the reasons):
 *  - Cache operations come first, in order, then the spans. No slot appears in two spans of one step. A step that is refused has
 *    changed nothing on that rank.
 *  - `open` gives a slot its sampling and its history and leaves the cached tokens alone; `copy` moves only cached tokens; `drop`
 *    empties the slot and forgets its sampling and history. Every sequence is opened before its first span.
 *  - What stays of a slot's cache is decided by the next span's `position`: lower than the slot's length rewinds, 0 empties.
 *  - A token is sampled at absolute position `position + rows` of its sequence: the random numbers are a function of (seed,
 *    that position), the penalties of the history before it. The worker adds the sampled token to the history itself.
 *  - A slot opened with `pooling` is embedded: nothing is sampled, and the span with `sample` is answered with its `embedding`. For `mean`
 *    every span of it must have `everyRow`, from position 0 on.
 *  - A span may name no tokens: it is fed from the slot's history. So the step after a sampling step can be sent before that one is
 *    answered, and the time between scheduler and worker is hidden. If the earlier step fails, so does the later, with `stage_lost`.
 *  - After a step that failed in the ring its sequences may be cached on some ranks and not on others, and the ranks behind refuse
 *    what follows it: begin another Run stream, whose first step drops every slot.
 *    A span beyond what a slot holds fails with `stage_lost`: that rank lost its cache.
 *  - A stream that begins with `keep` finds on every rank either what it names or nothing, and is told which (`held`). Spans whose
 *    rows some ranks lack name those (`lacking`): the others compute nothing and hand on what they computed the first time.
 *  - Results come in the order of the steps. At most `stepsInFlightMax` steps are taken before the first is answered; further
 *    ones wait in the stream. A new plan finds every slot empty, also when the stage was already loaded.
 */
import { type Epoch, epochZero, nodeId } from "./ids.js";

/** Steps that a worker takes from one stream before it has answered the first of them. */
export const stepsInFlightMax = 64;
/** Rows of all spans of one step. */
export const stepRowsMax = 2_048;
export const topLogprobsMax = 20;
/** Bounds in seconds by which calls of the engine are counted, see `ProbeReply.computeCounts`. */
export const computeSecondsBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] as const;

export type Phase = "PHASE_EMPTY" | "PHASE_LOADING" | "PHASE_IDLE" | "PHASE_BUSY" | "PHASE_FAILED" | "PHASE_DRAINING";

export interface StageStatus {
  readonly planVersion: number;
  readonly modelId: string;
  readonly rank: number;
  readonly worldSize: number;
  readonly layerFirst: number;
  readonly layerEnd: number;
  readonly engine: string;
  readonly numerics: string;
  /** `prefill` | `decode`, see `Engine.replay`; empty until loaded. */
  readonly replay: string;
}

export interface ProbeReply {
  readonly incarnation: string;
  readonly pid: number;
  /** Highest accepted; null in a decoded message only if a foreign worker left it out. */
  readonly epoch: Epoch | null;
  readonly phase: Phase;
  readonly inflight: number;
  readonly stepSeq: number;
  readonly phaseAgeMs: number;
  readonly progressAgeMs: number;
  readonly loopLagMs: number;
  readonly bytesLoaded: number;
  readonly bytesTotal: number;
  /** null when no stage is loaded or loading. */
  readonly stage: StageStatus | null;
  readonly errorCode: string;
  readonly error: string;
  readonly rssBytes: number;
  readonly kvBytes: number;
  readonly engine: string;
  readonly stepsTotal: number;
  readonly computeSecondsTotal: number;
  readonly cpuSecondsTotal: number;
  /** Calls of the engine that took up to each of `computeSecondsBounds` (and more than the one before); the last count is of longer ones. */
  readonly computeCounts: readonly number[];
}

export interface LoadRequest {
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly modelId: string;
  readonly modelDir: string;
  readonly rank: number;
  readonly worldSize: number;
  readonly layerFirst: number;
  readonly layerEnd: number;
  readonly engine: string;
  readonly numerics: string;
  readonly threads: number;
  readonly slots: number;
  readonly contextMax: number;
  readonly batchMax: number;
  /** gRPC target of the next rank's worker (`dialTarget`); empty in a ring of one. */
  readonly nextAddress: string;
  /** The DNS name in the next worker's certificate (`<nodeId>.minid`). */
  readonly nextName: string;
}

export interface LoadProgress {
  readonly bytesLoaded: number;
  readonly bytesTotal: number;
  readonly ready: boolean;
  readonly reused: boolean;
}

export interface Sampling {
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off. */
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  /** Token id → added to its logit. */
  readonly logitBias: Readonly<Record<string, number>>;
  /** An integer in [0, 2^53). */
  readonly seed: number;
  readonly topLogprobs: number;
  readonly logprobs: boolean;
  /** What the answer must match: `Grammar` of src/model/grammar/grammar.ts as JSON text. Empty or absent: anything. */
  readonly grammar?: string;
}

/** Greedy, nothing reported: what a sequence without wishes gets. */
export const greedySampling: Sampling = Object.freeze({
  temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: {}, seed: 0, topLogprobs: 0, logprobs: false,
});

/** How the rows of a sequence become one vector: its last row, or the mean of all. */
export type Pooling = "last" | "mean";

export interface OpenSlot {
  readonly slot: number;
  readonly sampling: Sampling | null;
  readonly history: readonly number[];
  readonly promptLength: number;
  /** The sequence is to be embedded, not continued. Empty or absent: sampled. */
  readonly pooling?: Pooling | "";
  /** For the logs. Empty or absent: not known. */
  readonly requestId?: string;
}
export interface CopySlot { readonly from: number; readonly to: number; readonly length: number }
export interface DropSlot { readonly slot: number }

export type CacheOp =
  | { readonly op: "open"; readonly open: OpenSlot }
  | { readonly op: "copy"; readonly copy: CopySlot }
  | { readonly op: "drop"; readonly drop: DropSlot };

export interface StepSpan {
  readonly slot: number;
  readonly position: number;
  readonly rows: number;
  /** Rank 0 only: `rows` of them, or none: then those that the slot's history has there, sampled by an earlier step or given by `open`. */
  readonly tokens: readonly number[];
  /** Sample after the last row; of a sequence to be embedded: its rows are complete with this span. */
  readonly sample: boolean;
  /** Every row comes back to rank 0 after the last layer, as the mean of them needs it; otherwise only the one to be sampled. */
  readonly everyRow?: boolean;
  /** Rows that only these ranks compute, because all others kept them (`Keep`). Empty or absent: every rank computes. Nothing is sampled. */
  readonly lacking?: readonly number[];
}

/** Tokens of a slot that every step answered so far has left in the cache. */
export interface KeptSlot { readonly slot: number; readonly length: number }

/** What a scheduler whose ring was lost knows to be cached still, wherever the process lived on. */
export interface Keep {
  /** Runs that may have made a rank's cache last; a cache that another run has touched is dropped. */
  readonly runs: readonly number[];
  readonly slots: readonly KeptSlot[];
}

/** Of the slots to be kept, those that a rank holds. */
export interface RankHeld { readonly rank: number; readonly slots: readonly number[] }

export interface Step {
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly stepSeq: number;
  readonly ops: readonly CacheOp[];
  readonly spans: readonly StepSpan[];
  /** Only in the first step of a stream, which then has no spans. */
  readonly keep?: Keep | null;
}

export interface TokenLogprob { readonly token: number; readonly logprob: number }

export interface Sampled {
  readonly slot: number;
  readonly token: number;
  /** Log-probability of the token under the model's own distribution, before bias, penalties and temperature; 0 when not asked for. */
  readonly logprob: number;
  /** Most likely first; empty when not asked for. */
  readonly top: readonly TokenLogprob[];
  /** [hiddenSize], in place of the token of a sequence that is embedded: its rows after the final norm, pooled, not of unit length. Else empty or absent. */
  readonly embedding?: readonly number[];
  /** A code of the catalogue when this sequence alone failed in the step; empty or absent otherwise. May come for a span that was not to be sampled. */
  readonly errorCode?: string;
  readonly error?: string;
}

/** A sequence whose numbers went bad on the way. Its rows are zero from there on, so that they harm nobody. */
export interface Fault {
  readonly slot: number;
  /** Names the layers and the rank. */
  readonly error: string;
}

/** What one rank above 0 spent on a step. */
export interface RankTime {
  readonly rank: number;
  readonly computeMs: number;
  /** From the frame's arrival to its departure. */
  readonly heldMs: number;
}

export interface StepResult {
  readonly stepSeq: number;
  readonly sampled: readonly Sampled[];
  /** Empty when the step succeeded; otherwise a code of the error catalogue. */
  readonly errorCode: string;
  readonly error: string;
  readonly computeMs: number;
  readonly ringMs: number;
  /** Of the other ranks, in order; fewer when a rank of another version does not tell. */
  readonly times: readonly RankTime[];
  /** What rank 0's worker calls this stream, in `Keep`; 0 when a worker of another version does not tell. */
  readonly run?: number;
  /** In answer to `keep`; a rank that is missing knows nothing of keeping. */
  readonly held?: readonly RankHeld[];
}

export interface Frame {
  readonly epoch: Epoch;
  readonly planVersion: number;
  /** Of the Run stream that the step came by; and which of its frames this is, from 1. */
  readonly run: number;
  readonly place: number;
  readonly stepSeq: number;
  readonly ops: readonly CacheOp[];
  readonly spans: readonly StepSpan[];
  /** [rows, hiddenSize] float32 little-endian. */
  readonly hidden: Uint8Array;
  /** CRC-32 of `hidden`; absent from ranks of older versions. */
  readonly checksum?: number;
  /** Of the ranks that it has passed. */
  readonly times: readonly RankTime[];
  readonly keep?: Keep | null;
  readonly held?: readonly RankHeld[];
  /** Of the ranks that it has passed; absent from ranks of older versions. */
  readonly faults?: readonly Fault[];
}

export interface PassFailure {
  readonly stepSeq: number;
  readonly errorCode: string;
  readonly error: string;
  readonly rank: number;
}

/** An epoch as it came over the wire, where a message that was left out is null. */
export function wireEpoch(epoch: { readonly counter: number; readonly nodeId: string } | null): Epoch {
  return epoch === null ? epochZero : { counter: epoch.counter, nodeId: nodeId(epoch.nodeId) };
}
