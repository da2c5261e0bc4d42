/**
 * When rank 0 plans, and with whom. What is lost or new to the term is planned at once; newcomers wait until they have settled, so that
 * machines starting together make one plan; suspicion alone changes nothing. A machine that keeps failing to load its stage is planned
 * around for a while. How layers are shared out is `planner/`'s business.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import type { LayerRange } from "../../model/spec.js";
import type { NodeFacts } from "../membership/facts.js";
import { type Member, hesitation, isLive } from "../membership/member.js";
import type { Device, ModelShape, Plan } from "../planner/plan.js";
import { planRing, sameRing } from "../planner/planner.js";
import { whyNew } from "../planner/words.js";
import type { ClusterConfig } from "./contract.js";

/** Newcomers are waited for at most this many settling times. */
const PATIENCE = 3;
/** Time-dependent conditions are looked at again this often. */
const REVIEW_MS = 2_000;
/** A stage that fails to load for this long is given to others, */
export const LOAD_FAILING_MS = 10_000;
/** and its machine is left out for this long. */
const PENALTY_MS = 300_000;

export interface PlanningInput {
  readonly epoch: Epoch;
  readonly leaderSince: number;
  readonly model: ModelShape | undefined;
  readonly selfId: NodeId;
  readonly self: NodeFacts;
  readonly members: readonly Member[];
  /** Newest plan known, of this term or of an earlier one. */
  readonly latest: Plan | undefined;
  /** The plan of this term, unless it was taken back. */
  readonly inForce: Plan | undefined;
  /** Highest plan version ever heard of. */
  readonly version: number;
}

export type PlanningResult = { readonly kind: "plan"; readonly plan: Plan } | { readonly kind: "planless"; readonly reason: string } | undefined;

export class Planning {
  readonly #config: ClusterConfig;
  #dirty = true;
  #reviewedAt = -Infinity;
  #waitingSince: number | undefined;
  readonly #failingSince = new Map<NodeId, number>();
  readonly #leftOutUntil = new Map<NodeId, number>();

  constructor(config: ClusterConfig) { this.#config = config; }

  /** Something that planning depends on may have changed. */
  touch(): void { this.#dirty = true; }

  step(input: PlanningInput, now: number): PlanningResult {
    const impatient = this.#waitingSince !== undefined && now - this.#waitingSince <= PATIENCE * this.#config.settleMs;
    if (!this.#dirty && now - this.#reviewedAt < (impatient ? this.#config.tickIntervalMs : REVIEW_MS)) return undefined;
    this.#dirty = false;
    this.#reviewedAt = now;
    const { model, latest, inForce: current } = input;
    if (!model) return { kind: "planless", reason: "no model is configured" };
    const { devices, waiting } = this.#admitted(input, now);
    const valid = current?.model.modelId === model.modelId && current.ranks.every((rank) => devices.some((device) => device.nodeId === rank.nodeId));
    // A ring that worked until something was lost is mended with whoever is there; only a first plan, or a larger one, can wait.
    if (waiting && (valid || !latest) && this.#mayWait(input.leaderSince, valid, now)) return undefined;
    if (!waiting) this.#waitingSince = undefined;

    const held = heldLayers(input);
    const result = planRing(model, devices, this.#config.planner, held);
    if (!result.fits) return { kind: "planless", reason: result.reason };
    const { ring } = result;
    if (current && valid && sameRing(current, ring)) return undefined;
    return { kind: "plan", plan: { ...ring, epoch: input.epoch, version: input.version + 1, model, why: whyNew(ring, latest) } };
  }

  #admitted(input: PlanningInput, now: number): { readonly devices: readonly Device[]; readonly waiting: boolean } {
    const { latest, members } = input;
    const devices: Device[] = [deviceOf(input.selfId, input.self)];
    let waiting = false;
    for (const member of members) {
      if (!isLive(member) || member.facts?.draining) continue;
      const { facts } = member;
      if (!facts) { waiting = true; continue; }
      if (facts.worker.crashLooping || this.#leftOut(member, input, now)) continue;
      const inRing = latest ? latest.ranks.some((rank) => rank.nodeId === member.id) : facts.worker.loaded !== undefined;
      // Seen coming and already silent again is not settled.
      const fresh = now - member.sureAt <= 2 * this.#config.heartbeatIntervalMs;
      const settled = member.state === "alive" && fresh && now - member.joinedAt >= this.#config.settleMs * hesitation(member) && facts.worker.healthy;
      if (inRing || settled) devices.push(deviceOf(member.id, facts));
      else waiting = true;
    }
    return { devices, waiting };
  }

  /** Keeps failing to load its stage, and the others can do without it. */
  #leftOut(member: Member, input: PlanningInput, now: number): boolean {
    if (now < (this.#leftOutUntil.get(member.id) ?? -Infinity)) return true;
    if (member.facts?.worker.phase !== "failed") { this.#failingSince.delete(member.id); return false; }
    const since = this.#failingSince.get(member.id) ?? now;
    this.#failingSince.set(member.id, since);
    if (now - since < LOAD_FAILING_MS) return false;
    const others = input.members.filter((other) => other !== member && isLive(other) && other.facts?.worker.healthy && !other.facts.draining);
    const devices = [deviceOf(input.selfId, input.self), ...others.flatMap((other) => (other.facts ? [deviceOf(other.id, other.facts)] : []))];
    if (!input.model || !planRing(input.model, devices, this.#config.planner, new Map()).fits) return false;
    this.#failingSince.delete(member.id);
    this.#leftOutUntil.set(member.id, now + PENALTY_MS);
    return true;
  }

  #mayWait(leaderSince: number, valid: boolean, now: number): boolean {
    this.#waitingSince ??= valid ? now : leaderSince;
    return now - this.#waitingSince < PATIENCE * this.#config.settleMs;
  }
}

/** A machine as the planner sees it. */
export function deviceOf(nodeId: NodeId, facts: NodeFacts): Device {
  return {
    nodeId, deviceId: facts.deviceId, cores: facts.cores, budgetBytes: facts.budgetBytes, unheard: facts.unheard,
    ...(facts.weightBytesPerSecond === undefined ? {} : { weightBytesPerSecond: facts.weightBytesPerSecond }),
    workerAddresses: facts.addresses.map((address) => `${address}:${facts.workerPort}`),
  };
}

/** What workers say they hold; for those that say nothing, what the latest plan gave them. */
function heldLayers(input: PlanningInput): ReadonlyMap<NodeId, LayerRange> {
  const held = new Map<NodeId, LayerRange>(input.latest?.ranks.map((rank) => [rank.nodeId, rank.layers]));
  const add = (id: NodeId, facts: NodeFacts | undefined) => { const layers = facts?.worker.loaded?.layers; if (layers && !input.latest) held.set(id, layers); };
  add(input.selfId, input.self);
  for (const member of input.members) if (isLive(member)) add(member.id, member.facts);
  return held;
}
