/** Is every stage of the plan loaded, for exactly this plan? Anybody can tell from the members' facts; rank 0's scheduler goes by it. */
import type { NodeId } from "../../core/ids.js";
import { sameEpoch } from "../../core/ids.js";
import type { NodeFacts } from "../membership/facts.js";
import type { Plan } from "../planner/plan.js";

export type FactsOf = (id: NodeId) => { readonly facts: NodeFacts | undefined; readonly live: boolean } | undefined;

/** @returns why the ring cannot compute now, in words; empty when it can. */
export function missing(plan: Plan, factsOf: FactsOf): readonly string[] {
  const reasons: string[] = [];
  for (const rank of plan.ranks) {
    const found = factsOf(rank.nodeId);
    const stage = `layers ${rank.layers.first}-${rank.layers.end - 1}`;
    if (!found?.live) { reasons.push(`${rank.deviceId}, which holds ${stage}, is not reachable`); continue; }
    const worker = found.facts?.worker;
    if (!worker) { reasons.push(`nothing is known of ${rank.deviceId} yet`); continue; }
    if (!worker.healthy) { reasons.push(`the worker of ${rank.deviceId} is not healthy${worker.error === "" ? "" : `: ${worker.error}`}`); continue; }
    const { loaded } = worker;
    if (loaded && sameEpoch(loaded.epoch, plan.epoch) && loaded.planVersion === plan.version && (worker.phase === "idle" || worker.phase === "busy")) continue;
    reasons.push(`${rank.deviceId} has not loaded ${stage} yet (${worker.phase}${worker.error === "" ? "" : `: ${worker.error}`})`);
  }
  return reasons;
}

/** The same without words: cheap enough to ask after every message. */
export function isReady(plan: Plan, factsOf: FactsOf): boolean {
  for (const rank of plan.ranks) {
    const found = factsOf(rank.nodeId);
    const worker = found?.live ? found.facts?.worker : undefined;
    if (!worker?.healthy || !worker.loaded || (worker.phase !== "idle" && worker.phase !== "busy")) return false;
    if (worker.loaded.planVersion !== plan.version || !sameEpoch(worker.loaded.epoch, plan.epoch)) return false;
  }
  return true;
}
