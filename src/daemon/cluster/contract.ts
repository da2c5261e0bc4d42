/**
 * The seam between `ClusterCore` and its driver: what goes in, what comes out, and the snapshot that status, metrics and routing read.
 *
 * Rules for drivers:
 *  - Execute effects in order. `persist` means: on disk (fsync) before `persisted` with the same id is put in. Nothing else waits.
 *  - `send` is fire and forget; dial the addresses in order, keep connections, drop when a peer is slow. Never queue more than a few.
 *  - Put `tick` in every `config.tickIntervalMs`; a late tick is information, so never send several to catch up.
 *  - `applyPlan` replaces whatever was applied before; it may be repeated (the worker lost its stage) and is idempotent.
 *  - `now` is monotonic milliseconds of this process.
 */
import type { ConditionCode } from "../../checks/conditions.js";
import type { Epoch, Millis, NodeId } from "../../core/ids.js";
import type { LeaderChangeCause } from "../election/cause.js";
import type { LocalFacts, NodeFacts, ProtocolRange } from "../membership/facts.js";
import type { ModelShape, Plan, PlannerOptions, PlanRank } from "../planner/plan.js";
import type { MemberState } from "../membership/member.js";
import type { ClusterMessage } from "./messages.js";

export interface ClusterIdentity {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** For people, and to notice two clusters of one name. */
  readonly clusterName: string;
  readonly protocol: ProtocolRange;
}

export interface ClusterConfig {
  /** How often the driver puts `tick` in. */
  readonly tickIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  /** Silence after which a member is suspected, and asked after through the others. More than twice the heartbeat. */
  readonly suspectAfterMs: number;
  /** Silence after which a member is dead. */
  readonly deadAfterMs: number;
  /** A tick later than this means that the machine slept. */
  readonly sleepAfterMs: number;
  /** After start and wake: listen this long for a leader before standing for election. */
  readonly listenMs: number;
  /** A member must be alive this long before it is planned in, so that machines starting together make one plan. */
  readonly settleMs: number;
  readonly planner: PlannerOptions;
}

/** What the node must remember, as one small JSON file. */
export interface DurableRecord {
  /** Of the last start: the next one is higher. */
  readonly incarnation: number;
  /** Highest epoch ever seen or announced; a new term has a higher counter. */
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly forgotten: readonly NodeId[];
  /** Introductions for the next start. */
  readonly peers: readonly { readonly nodeId: NodeId; readonly deviceId: string; readonly addresses: readonly string[] }[];
}

/** `addresses` are `host:port` of the agent, best first; `nodeId` undefined: whoever answers there. */
export interface Destination { readonly nodeId?: NodeId; readonly addresses: readonly string[] }

export type IntroductionSource = "mdns" | "config" | "join";

export type ClusterInput =
  /** @property wallMs Unix milliseconds: to notice sleep, and clocks that disagree or jump. */
  | { readonly kind: "tick"; readonly wallMs: number }
  /** @property from the node id of the verified certificate. */
  | { readonly kind: "message"; readonly from: NodeId; readonly message: ClusterMessage }
  /** Somebody may be there. `clusterId` and `clusterName` as far as the introducer says. */
  | { readonly kind: "introduction"; readonly address: string; readonly source: IntroductionSource; readonly nodeId?: NodeId; readonly clusterId?: string; readonly clusterName?: string }
  /**
   * The peer's machine refused the connection (ECONNREFUSED, not a timeout): its agent is not running. Optional; it halves the time to
   * notice, and halves it again when its worker's port refused as well.
   */
  | { readonly kind: "refused"; readonly nodeId: NodeId; readonly byWorkerToo: boolean }
  | { readonly kind: "persisted"; readonly id: number }
  /** All local facts, whenever any of them changed (worker status included). Unchanged facts cost nothing. */
  | { readonly kind: "facts"; readonly facts: LocalFacts }
  /** The model to serve, or none. Only rank 0's counts. */
  | { readonly kind: "model"; readonly model: ModelShape | undefined }
  /** Start or stop leaving: hand leadership over, hold no stage in new plans. `view().drained` says when it is safe to go. */
  | { readonly kind: "drain"; readonly draining: boolean }
  /** Say goodbye; the last input before the process ends. */
  | { readonly kind: "leave" }
  /** Remove a machine for good: every member refuses it from now on. */
  | { readonly kind: "forget"; readonly nodeId: NodeId };

export type ClusterEvent =
  | { readonly kind: "member"; readonly nodeId: NodeId; readonly deviceId: string; readonly from: MemberState | "unknown"; readonly to: MemberState; readonly cause: string }
  | { readonly kind: "member_restarted"; readonly nodeId: NodeId; readonly deviceId: string }
  | { readonly kind: "election_started"; readonly epoch: Epoch; readonly cause: LeaderChangeCause }
  | { readonly kind: "election_won"; readonly epoch: Epoch; readonly cause: LeaderChangeCause; readonly tookMs: number }
  | { readonly kind: "leader_changed"; readonly leader: NodeId | undefined; readonly epoch: Epoch | undefined; readonly cause: LeaderChangeCause }
  | { readonly kind: "planned"; readonly epoch: Epoch; readonly version: number; readonly worldSize: number; readonly why: string }
  | { readonly kind: "unplannable"; readonly reason: string }
  | { readonly kind: "ready"; readonly epoch: Epoch; readonly version: number; readonly sincePlanMs: number }
  | { readonly kind: "not_ready"; readonly reasons: readonly string[] }
  | { readonly kind: "slept"; readonly forMs: number }
  | { readonly kind: "clock_jumped"; readonly byMs: number }
  | { readonly kind: "message_refused"; readonly from: NodeId; readonly why: "other_cluster" | "protocol" | "forgotten" | "malformed" };

export type ClusterEffect =
  | { readonly kind: "send"; readonly to: Destination; readonly message: ClusterMessage }
  | { readonly kind: "persist"; readonly id: number; readonly record: DurableRecord }
  /** Load this node's stage of the plan, under the plan's epoch. `rank` undefined: this node holds none. */
  | { readonly kind: "applyPlan"; readonly plan: Plan; readonly rank: PlanRank | undefined }
  /** This node is rank 0 now; the epoch is on disk. The scheduler starts when the plan is ready. */
  | { readonly kind: "becomeLeader"; readonly epoch: Epoch }
  /** Not any more: stop the scheduler, end its streams with `stage_lost`. */
  | { readonly kind: "stepDown"; readonly epoch: Epoch; readonly cause: LeaderChangeCause }
  | { readonly kind: "event"; readonly event: ClusterEvent };

export interface Condition {
  readonly code: ConditionCode;
  readonly severity: "info" | "warning" | "error";
  readonly text: string;
  /** What a person can do; "" when it heals by itself. */
  readonly remedy: string;
  readonly nodeId?: NodeId;
}

export interface MemberView {
  readonly nodeId: NodeId;
  readonly self: boolean;
  /** `incompatible`: alive, but its protocol versions do not overlap ours. */
  readonly state: MemberState | "incompatible";
  readonly since: Millis;
  /** Why it is in that state, in words. */
  readonly cause: string;
  readonly incarnation: number;
  /** Milliseconds since its last known sign of life. */
  readonly ageMs: number;
  /** False: known to be alive only through others. */
  readonly direct: boolean;
  /** Undefined until its first facts arrived. */
  readonly facts: NodeFacts | undefined;
  /** `host:port` of its agent, best first. */
  readonly agentAddresses: readonly string[];
  /** Its place in the current plan. */
  readonly rank: number | undefined;
}

export interface ClusterView {
  readonly identity: ClusterIdentity;
  readonly incarnation: number;
  /** This node first, then by device id. */
  readonly members: readonly MemberView[];
  readonly role: "leader" | "follower" | "listening" | "candidate";
  readonly leader: NodeId | undefined;
  /** The term in force. */
  readonly epoch: Epoch | undefined;
  /** The newest plan of that term; undefined while there is none. */
  readonly plan: Plan | undefined;
  /** This node's rank in it. */
  readonly rank: number | undefined;
  /** Every rank of the plan has its stage loaded for exactly this plan and is healthy. */
  readonly ready: boolean;
  /** In words, for /health; empty exactly when ready. */
  readonly notReady: readonly string[];
  readonly conditions: readonly Condition[];
  readonly draining: boolean;
  /** Draining, and nothing depends on this node any more. */
  readonly drained: boolean;
  /** Lifeguard's local health multiplier: 0 is healthy; timeouts are stretched by 1 + this. */
  readonly selfDoubt: number;
  /** Peers that another cluster of the same name was seen at. */
  readonly foreignClusters: readonly { readonly clusterId: string; readonly address: string }[];
}

/** Signature of the core, implemented by `ClusterCore` in `cluster.ts`. */
export interface ClusterMachine {
  /** @returns effects in the order in which they must be executed. @param now monotonic milliseconds, never lower than before. */
  step(input: ClusterInput, now: Millis): readonly ClusterEffect[];
  view(now: Millis): ClusterView;
}

export interface ClusterInit {
  readonly identity: ClusterIdentity;
  readonly config: ClusterConfig;
  readonly facts: LocalFacts;
  readonly model: ModelShape | undefined;
  /** What was on disk; undefined at the first start of this identity. */
  readonly durable: DurableRecord | undefined;
  /**
   * 0 normally. When the identity exists but its record was lost, seconds since 2020 by the wall clock: incarnations and epochs then
   * start above anything used before, so that no epoch is ever used twice.
   */
  readonly counterFloor: number;
  readonly now: Millis;
  readonly wallMs: number;
}

export const clusterDefaults: Omit<ClusterConfig, "planner"> = Object.freeze({
  tickIntervalMs: 250, heartbeatIntervalMs: 500, suspectAfterMs: 2_000, deadAfterMs: 4_000, sleepAfterMs: 5_000, listenMs: 1_500, settleMs: 1_000,
});
