/**
 * The truth in one snapshot: `/health`, `/distributed/*`, `minid status`, the dashboard and the metrics all read this, so they
 * cannot contradict each other. Built from the cluster's view and this node's own supervisor and scheduler; field names are the wire's.
 */
import type { Condition, ClusterView, MemberView } from "./cluster/contract.js";
import type { SchedulerSnapshot } from "./inference/scheduler-types.js";
import type { Plan } from "./planner/plan.js";
import { type LiveStatus, liveStatus } from "./telemetry/live.js";
import type { TelemetryView } from "./telemetry/telemetry.js";
import type { TimelineEvent } from "./telemetry/timeline.js";
import type { DoorVitals, WorkerVitals } from "./telemetry/vitals.js";

export interface EpochStatus { readonly counter: number; readonly node_id: string }

export interface ConditionStatus {
  readonly code: string;
  readonly severity: "info" | "warning" | "error";
  readonly message: string;
  /** What a person can do; empty when it heals by itself. docs/OPERATIONS.md has an entry for each code. */
  readonly remedy: string;
  readonly device_id?: string;
}

export interface WorkerStatus {
  readonly pid: number | null;
  readonly incarnation: string;
  readonly phase: string;
  readonly restarts: number;
  readonly healthy: boolean;
  readonly error: string;
  readonly engine: string;
  readonly accepted_epoch: EpochStatus;
  /** Known of this node's own worker only. */
  readonly bytes_loaded?: number;
  readonly bytes_total?: number;
  readonly rss_bytes?: number;
  readonly kv_bytes?: number;
  readonly steps_total?: number;
}

export interface DeviceStatus {
  readonly device_id: string;
  readonly node_id: string;
  /** null: holds no stage. */
  readonly rank: number | null;
  readonly role: "coordinator" | "worker";
  readonly status: "healthy" | "loading" | "unhealthy" | "suspect" | "dead" | "left" | "draining" | "incompatible";
  readonly hostname: string;
  readonly addresses: readonly string[];
  readonly self: boolean;
  readonly layers: readonly [number, number] | null;
  readonly agent: { readonly pid: number | null; readonly incarnation: number; readonly version: string; readonly http_port: number; readonly last_heard_ms: number };
  readonly worker: WorkerStatus | null;
  readonly platform: string;
  readonly cores: number;
  readonly memory_bytes: number;
  /** How its worker and its front door do now; null while it does not tell. */
  readonly load: WorkerVitals | null;
  readonly door: DoorVitals | null;
}

export interface PlanStatus {
  readonly version: number;
  readonly epoch: EpochStatus;
  readonly model_id: string;
  readonly world_size: number;
  readonly why: string;
  readonly slots: number;
  readonly batch_max: number;
  readonly context_max: number;
  readonly kv_tokens_max: number;
  readonly estimated_step_ms: number;
  readonly ranks: readonly {
    readonly rank: number;
    readonly device_id: string;
    readonly node_id: string;
    readonly layers: readonly [number, number];
    readonly weight_bytes: number;
    readonly kv_bytes_max: number;
    readonly estimated_step_ms: number;
  }[];
}

export interface StatusSnapshot {
  readonly node: { readonly device_id: string; readonly node_id: string; readonly version: string; readonly incarnation: number };
  readonly cluster: { readonly id: string; readonly name: string };
  readonly ready: boolean;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
  readonly role: ClusterView["role"];
  readonly leader: { readonly device_id: string; readonly node_id: string } | null;
  readonly epoch: EpochStatus | null;
  readonly world_size: number;
  readonly model: { readonly id: string; readonly numerics: string };
  readonly plan: PlanStatus | null;
  readonly devices: readonly DeviceStatus[];
  readonly conditions: readonly ConditionStatus[];
  readonly draining: boolean;
  readonly drained: boolean;
  /** Of the scheduler; null on a node that is not rank 0. */
  readonly inference: SchedulerSnapshot | null;
  /** How the ring does now, as rank 0 and the front doors tell; null while rank 0 does not. */
  readonly live: LiveStatus | null;
  /** Faults and recoveries as all nodes saw them, oldest first. */
  readonly events: readonly TimelineEvent[];
}

export interface LocalWorker {
  readonly bytesLoaded: number;
  readonly bytesTotal: number;
  readonly rssBytes: number;
  readonly kvBytes: number;
  readonly stepsTotal: number;
}

export interface StatusInputs {
  readonly view: ClusterView;
  readonly version: string;
  readonly modelId: string;
  readonly numerics: string;
  readonly localWorker: LocalWorker | undefined;
  readonly scheduler: SchedulerSnapshot | undefined;
  /** Conditions of this node that the cluster's core does not know: discovery, disk, certificates. */
  readonly localConditions: readonly ConditionStatus[];
  readonly telemetry: TelemetryView;
}

export function buildStatus(inputs: StatusInputs): StatusSnapshot {
  const { view } = inputs;
  const byId = new Map(view.members.map((member) => [member.nodeId as string, member]));
  const nameOf = (id: string) => byId.get(id)?.facts?.deviceId ?? id.slice(0, 8);
  const self = view.members.find((member) => member.self);
  // Who was only introduced has not been heard yet: it may not exist.
  const devices = view.members.filter((member) => member.state !== "introduced").map((member) => deviceStatus(member, view, inputs)).sort(byRankThenName);
  return {
    node: { device_id: self?.facts?.deviceId ?? nameOf(view.identity.nodeId), node_id: view.identity.nodeId, version: inputs.version, incarnation: view.incarnation },
    cluster: { id: view.identity.clusterId, name: view.identity.clusterName },
    ready: view.ready,
    reasons: reasonsOf(inputs),
    role: view.role,
    leader: view.leader === undefined ? null : { device_id: nameOf(view.leader), node_id: view.leader },
    epoch: view.epoch ? { counter: view.epoch.counter, node_id: view.epoch.nodeId } : null,
    world_size: view.plan?.ranks.length ?? 0,
    model: { id: inputs.modelId, numerics: inputs.numerics },
    plan: view.plan ? planStatus(view.plan) : null,
    devices,
    conditions: [...view.conditions.map((condition) => conditionStatus(condition, nameOf)), ...inputs.localConditions],
    draining: view.draining,
    drained: view.drained,
    inference: inputs.scheduler ?? null,
    live: liveStatus(view.leader, devices, inputs.telemetry),
    events: inputs.telemetry.events,
  };
}

/** What is wrong with this machine itself comes first: the rest may follow from it. */
function reasonsOf({ view, localConditions }: StatusInputs): StatusSnapshot["reasons"] {
  if (view.notReady.length === 0) return [];
  const own = localConditions.filter(({ severity }) => severity === "error").map(({ code, message }) => ({ code, message }));
  return [...own, ...view.notReady.map((message) => ({ code: reasonCode(view), message }))];
}

/** The most telling of the error conditions, else that the ring is not there yet. */
function reasonCode(view: ClusterView): string {
  return view.conditions.find((condition) => condition.severity === "error")?.code ?? (view.leader === undefined ? "no_leader" : "not_ready");
}

function deviceStatus(member: MemberView, view: ClusterView, inputs: StatusInputs): DeviceStatus {
  const { facts } = member;
  const rank = view.plan?.ranks.find((candidate) => candidate.nodeId === member.nodeId);
  const local = member.self ? inputs.localWorker : undefined;
  const vitals = inputs.telemetry.vitalsOf(member.nodeId);
  return {
    device_id: facts?.deviceId ?? member.nodeId.slice(0, 8),
    node_id: member.nodeId,
    rank: rank?.rank ?? null,
    role: member.nodeId === view.leader ? "coordinator" : "worker",
    status: deviceHealth(member, view),
    hostname: member.self ? "localhost" : facts?.hostname ?? "",
    addresses: member.agentAddresses,
    self: member.self,
    layers: rank ? [rank.layers.first, rank.layers.end] : null,
    agent: {
      pid: facts?.pid ?? null,
      incarnation: member.incarnation,
      version: facts?.software ?? "",
      http_port: facts?.httpPort ?? 0,
      last_heard_ms: member.self ? 0 : Math.round(member.ageMs),
    },
    worker: facts ? {
      pid: facts.worker.pid ?? null,
      incarnation: facts.worker.incarnation,
      phase: facts.worker.phase,
      restarts: facts.worker.restarts ?? 0,
      healthy: facts.worker.healthy,
      error: facts.worker.error,
      engine: facts.engine,
      accepted_epoch: { counter: facts.worker.acceptedEpoch.counter, node_id: facts.worker.acceptedEpoch.nodeId },
      ...(local ? { bytes_loaded: local.bytesLoaded, bytes_total: local.bytesTotal, rss_bytes: local.rssBytes, kv_bytes: local.kvBytes, steps_total: local.stepsTotal } : {}),
    } : null,
    platform: facts?.platform ?? "",
    cores: facts?.cores ?? 0,
    memory_bytes: facts?.memoryBytes ?? 0,
    load: vitals?.worker ?? null,
    door: vitals?.door ?? null,
  };
}

function deviceHealth(member: MemberView, view: ClusterView): DeviceStatus["status"] {
  if (member.state === "introduced") return "suspect";
  if (member.state !== "alive") return member.state;
  const { facts } = member;
  if (facts?.draining) return "draining";
  if (!facts) return "loading";
  if (facts.worker.phase === "loading" || facts.worker.phase === "empty") return "loading";
  if (!facts.worker.healthy || facts.worker.phase === "failed" || facts.worker.phase === "absent") return "unhealthy";
  const current = view.plan && facts.worker.loaded?.planVersion === view.plan.version;
  return member.rank === undefined || current ? "healthy" : "loading";
}

function planStatus(plan: Plan): PlanStatus {
  return {
    version: plan.version,
    epoch: { counter: plan.epoch.counter, node_id: plan.epoch.nodeId },
    model_id: plan.model.modelId,
    world_size: plan.ranks.length,
    why: plan.why,
    slots: plan.slots,
    batch_max: plan.batchMax,
    context_max: plan.contextMax,
    kv_tokens_max: plan.kvTokensMax,
    estimated_step_ms: plan.stepMs,
    ranks: plan.ranks.map((rank) => ({
      rank: rank.rank, device_id: rank.deviceId, node_id: rank.nodeId, layers: [rank.layers.first, rank.layers.end],
      weight_bytes: rank.weightBytes, kv_bytes_max: rank.kvBytesMax, estimated_step_ms: rank.stepMs,
    })),
  };
}

function conditionStatus(condition: Condition, nameOf: (id: string) => string): ConditionStatus {
  return {
    code: condition.code, severity: condition.severity, message: condition.text, remedy: condition.remedy,
    ...(condition.nodeId === undefined ? {} : { device_id: nameOf(condition.nodeId) }),
  };
}

const byRankThenName = (a: DeviceStatus, b: DeviceStatus): number =>
  (a.rank ?? Number.MAX_SAFE_INTEGER) - (b.rank ?? Number.MAX_SAFE_INTEGER) || (a.device_id < b.device_id ? -1 : 1);
