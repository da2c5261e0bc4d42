/**
 * The plan in this node's hands: made when it leads, adopted when it follows, passed on to whoever lacks it, taken back when the
 * model does not fit any more. A plan is in force only under the term in force.
 */
import { sameEpoch } from "../../core/ids.js";
import { type Member, isLive } from "../membership/member.js";
import type { Plan } from "../planner/plan.js";
import { isReady, missing } from "./readiness.js";
import type { ClusterState } from "./state.js";

/** A member is handed a plan out of turn at most this often. */
const PLAN_GAP_MS = 400;
/** Who is not the leader passes a plan on only after the leader has had its chance. */
const RELAY_AFTER_MS = 1_000;

export class Plans {
  readonly #state: ClusterState;
  #readyAs: Plan | undefined;

  constructor(state: ClusterState) { this.#state = state; }

  /** To a member whose heartbeat says that it lacks the plan. */
  offer(member: Member, now: number): void {
    const { plan, mute, election, latestAt } = this.#state;
    if (!plan || mute || now - member.plannedAt < PLAN_GAP_MS) return;
    if (member.plan && sameEpoch(member.plan.epoch, plan.epoch) && member.plan.version >= plan.version) return;
    if (!election.leads && now - latestAt < RELAY_AFTER_MS) return;
    this.#hand(member, plan, now);
  }

  adopt(plan: Plan, now: number): void {
    const { election, latest } = this.#state;
    if (!election.term || !sameEpoch(election.term, plan.epoch) || election.leads) return;
    if (latest && sameEpoch(latest.epoch, plan.epoch) && latest.version >= plan.version) return;
    this.#hold(plan, now);
  }

  /**
   * Whether the plan in force is one that its leader's facts say was taken back. Looked at after every change: the facts may have been
   * learned under another leader, and count when the term returns to this one.
   */
  heedTakenBack(): void {
    const { plan, factsOf } = this.#state;
    const planless = plan && factsOf(plan.epoch.nodeId)?.facts?.planless;
    if (planless && plan.version <= planless.upTo) this.#state.revoked = plan;
  }

  /** If this node leads: plans, when there is a reason to. */
  make(now: number): void {
    const state = this.#state;
    const epoch = state.election.leads;
    if (!epoch) return;
    const { leaderSince, model, selfId, members, latest, plan: inForce, planVersion: version } = state;
    const result = state.planning.step({ epoch, leaderSince, model, selfId, self: state.facts.current, members, latest, inForce, version }, now);
    if (!result) return;
    if (result.kind === "planless") {
      if (!state.facts.planless(result.reason, version)) return;
      // Only what this term gave: the plan of another leader is its to take back, and may be in force again.
      if (inForce) state.revoked = inForce;
      state.outbox.hurry();
      state.event({ kind: "unplannable", reason: result.reason });
      return;
    }
    const { plan } = result;
    state.facts.planless(undefined);
    this.#hold(plan, now);
    state.event({ kind: "planned", epoch, version: plan.version, worldSize: plan.ranks.length, why: plan.why });
    for (const member of members) if (isLive(member)) this.#hand(member, plan, now);
  }

  watchReadiness(now: number): void {
    const { plan, factsOf, latestAt, election } = this.#state;
    const ready = plan !== undefined && this.#state.leaderUnreachable() === undefined && isReady(plan, factsOf) ? plan : undefined;
    if (ready === this.#readyAs) return;
    this.#readyAs = ready;
    if (ready) this.#state.event({ kind: "ready", epoch: ready.epoch, version: ready.version, sincePlanMs: now - latestAt });
    else this.#state.event({ kind: "not_ready", reasons: plan ? missing(plan, factsOf) : [election.term ? "there is no plan" : "there is no leader"] });
  }

  #hand(member: Member, plan: Plan, now: number): void {
    const { outbox, effects } = this.#state;
    member.plannedAt = now;
    outbox.send(member, { type: "plan", ...outbox.envelope(now), plan }, effects);
  }

  #hold(plan: Plan, now: number): void {
    const state = this.#state;
    state.latest = plan;
    state.latestAt = now;
    state.planVersion = Math.max(state.planVersion, plan.version);
    state.durable.planVersion(state.planVersion);
    state.outbox.hurry();
    state.changed = true;
  }
}
