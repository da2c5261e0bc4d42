/**
 * What one machine says about itself, and what the others need to elect and to plan. Travels in heartbeats: plain JSON-able data,
 * a new `version` whenever anything in it changes, so that peers who have it are not sent it again.
 * Nothing here may change every heartbeat (byte counters, ages): that is `Probe`'s business, between an agent and its own worker.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import type { LayerRange } from "../../model/spec.js";

/** Protocol versions that a node can speak. Two nodes can share a ring when their ranges overlap. */
export interface ProtocolRange { readonly min: number; readonly max: number }

export type WorkerPhase = "absent" | "empty" | "loading" | "idle" | "busy" | "failed" | "draining";

/** The stage that a worker holds or is loading: what readiness compares with the plan. */
export interface LoadedStage {
  readonly epoch: Epoch;
  readonly planVersion: number;
  /** What it holds in memory: the next plan leaves layers where they are. */
  readonly layers?: LayerRange;
}

export interface WorkerFacts {
  /** Of the process that answers now; absent while there is none. */
  readonly pid?: number;
  /** How often its agent has seen it come back. */
  readonly restarts?: number;
  /** How its engine rebuilds a sequence with the same bits (`Engine.replay`); absent until a stage is loaded. */
  readonly replay?: "prefill" | "decode";
  /** Fresh for every worker process; "" while there is none. */
  readonly incarnation: string;
  /** `absent`: no answer to probes. `busy` may be reported as `idle`: they mean the same here. */
  readonly phase: WorkerPhase;
  /** Highest epoch that the worker has accepted, as its durable record says. */
  readonly acceptedEpoch: Epoch;
  /** Undefined unless a stage is completely loaded. */
  readonly loaded?: LoadedStage;
  /** The supervisor's judgement: answering and moving. Readiness falls at the first failed probe. */
  readonly healthy: boolean;
  /** The supervisor's judgement: so many crashes in a row that the planner should go round it. */
  readonly crashLooping: boolean;
  /** Why not healthy, or why the last load failed; "" when all is well. At most `TEXT_MAX` characters. */
  readonly error: string;
}

/** What the agent tells its own core (input `facts`); the rest of `NodeFacts` the core knows by itself. */
export interface LocalFacts {
  /** The name people use: `mini1`. */
  readonly deviceId: string;
  readonly hostname: string;
  /** The agent's process. */
  readonly pid?: number;
  /** Where peers can dial this machine, best first: host names or IP addresses, without ports. At most `ADDRESSES_MAX`. */
  readonly addresses: readonly string[];
  readonly agentPort: number;
  readonly workerPort: number;
  readonly httpPort: number;
  /** minid's release, for people. */
  readonly software: string;
  /** `darwin arm64`, `linux x64`: with `engine` it says between which members answers continue bit for bit. */
  readonly platform: string;
  /** The engine that the worker would use: `onnx`, `mlx`. */
  readonly engine: string;
  readonly cores: number;
  /** All of the machine's memory. */
  readonly memoryBytes: number;
  /** What the worker may hold in weights and key-value cache, before the planner's own margin. */
  readonly budgetBytes: number;
  /** Measured: bytes of weights that decoding gets through in a second. Undefined until something was measured; planned by cores then. */
  readonly weightBytesPerSecond?: number;
  /** Configured `LOCAL_RANK`: a preference for election order, never a fact. Lower stands first. */
  readonly localRank?: number;
  /** Place in the configured `devices` list. Lower stands first, after `localRank`. */
  readonly deviceIndex?: number;
  readonly worker: WorkerFacts;
}

export interface NodeFacts extends LocalFacts {
  /** Rises with every change within one incarnation. */
  readonly version: number;
  readonly protocol: ProtocolRange;
  /** Leaving: holds no stage in new plans, and hands leadership over. */
  readonly draining: boolean;
  /** Leads, but cannot load its own stage: asks to be relieved as rank 0. */
  readonly aside: boolean;
  /** Leads, but no plan is possible: why, in words; plans up to version `upTo` of its term are taken back. */
  readonly planless?: { readonly why: string; readonly upTo: number };
  /** Members known to be alive by others' word that this node does not hear itself: broken links the ring must avoid. */
  readonly unheard: readonly NodeId[];
}

/** Longest free text in facts, in characters. */
export const TEXT_MAX = 300;
/** Most addresses that one machine announces. */
export const ADDRESSES_MAX = 8;

export const protocolsOverlap = (a: ProtocolRange, b: ProtocolRange): boolean => a.min <= b.max && b.min <= a.max;
