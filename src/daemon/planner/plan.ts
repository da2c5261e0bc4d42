/** What a plan is, and what planning starts from. All plain data; sizes in bytes, times in milliseconds. */
import type { Epoch, NodeId } from "../../core/ids.js";
import type { LayerRange } from "../../model/spec.js";

/** A model in the numbers that matter for cutting it. */
export interface ModelShape {
  readonly modelId: string;
  readonly layerCount: number;
  /** Resident weights of one layer (the largest, where they differ). */
  readonly layerBytes: number;
  /** Resident embedding table. */
  readonly embedBytes: number;
  /** Weights that the head reads for one token; equal to `embedBytes` when tied. */
  readonly headBytes: number;
  /** Embedding and head are one tensor, resident once. */
  readonly tied: boolean;
  /** Key-value cache of one token in one layer. */
  readonly kvBytesPerTokenLayer: number;
  /** The model's longest sequence in tokens. */
  readonly contextMax: number;
}

/** A machine that may hold a stage. */
export interface Device {
  readonly nodeId: NodeId;
  readonly deviceId: string;
  readonly cores: number;
  /** What weights and key-value cache may take, before `PlannerOptions.memoryMargin`. */
  readonly budgetBytes: number;
  /** Measured rate of decoding through weights. */
  readonly weightBytesPerSecond?: number;
  /** `host:port` of its worker, best first. */
  readonly workerAddresses: readonly string[];
  /** Members whose messages it does not get: none of them may be its neighbour in the ring. */
  readonly unheard: readonly NodeId[];
}

export interface PlannerOptions {
  /** `all`: every healthy member holds a stage. `fastest`: machines that only make a token slower are left out. */
  readonly use: "all" | "fastest";
  /** A working ring is rearranged only for at least this share of its step time (0.1: a tenth); new and lost members under `all` are always taken in and out. */
  readonly gainMin: number;
  /** Share of a machine's budget that stays free. */
  readonly memoryMargin: number;
  /** Milliseconds that one hop between machines adds to a step. */
  readonly hopMs: number;
  /** Sequences open at once, cached prefixes included. */
  readonly slots: number;
  /** Most sequences in one decode step. */
  readonly batchMax: number;
  /** Longest sequence wished for; the model's own bound applies too. */
  readonly contextMax: number;
  /** A plan that cannot give one sequence this many tokens does not fit. */
  readonly contextMin: number;
}

export const plannerDefaults: PlannerOptions = Object.freeze({
  use: "all", gainMin: 0.1, memoryMargin: 0.1, hopMs: 0.5, slots: 16, batchMax: 8, contextMax: 8192, contextMin: 512,
});

export interface PlanRank {
  /** 0 is the leader's. Ring order: rank r passes to r + 1, the last one to 0. */
  readonly rank: number;
  readonly nodeId: NodeId;
  readonly deviceId: string;
  readonly layers: LayerRange;
  /** Rank 0 only: also embeds, computes logits and samples. */
  readonly ownsText: boolean;
  readonly workerAddresses: readonly string[];
  readonly weightBytes: number;
  /** Key-value cache when `kvTokensMax` tokens are held. */
  readonly kvBytesMax: number;
  /** Estimated time of its share of one decode step. */
  readonly stepMs: number;
}

export interface Plan {
  readonly epoch: Epoch;
  /** Rises with every plan that a cluster makes, over epochs too. Fencing compares the epoch first. */
  readonly version: number;
  readonly model: ModelShape;
  readonly ranks: readonly PlanRank[];
  readonly slots: number;
  /** Longest sequence in tokens. */
  readonly contextMax: number;
  readonly batchMax: number;
  /** Tokens that all open sequences together may hold: the tightest machine's bound. */
  readonly kvTokensMax: number;
  /** Estimated time of one decode step through the whole ring, one sequence. */
  readonly stepMs: number;
  /** In words: why this plan replaced the one before. */
  readonly why: string;
}

/** What `planRing` decides: a plan without its term, or why there is none. */
export type PlanResult =
  | { readonly fits: true; readonly ring: Ring }
  | { readonly fits: false; readonly reason: string };

export type Ring = Omit<Plan, "epoch" | "version" | "why" | "model">;
