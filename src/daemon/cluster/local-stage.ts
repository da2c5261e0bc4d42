/** Which stage this node's worker should hold, and asking for it again when it does not: a worker that restarted holds nothing. */
import { type NodeId, sameEpoch } from "../../core/ids.js";
import type { WorkerFacts } from "../membership/facts.js";
import type { Plan } from "../planner/plan.js";
import type { ClusterEffect } from "./contract.js";

/** Asked for again after this long without progress; after a refusal the wait is longer. */
const RETRY_MS = 2_000;
const RETRY_FAILED_MS = 5_000;

export class LocalStage {
  #asked: { readonly plan: Plan; readonly at: number; readonly workerIncarnation: string } | undefined;

  /** Call after every change of plan or worker, and on every tick. @param plan of the term in force. */
  step(selfId: NodeId, plan: Plan | undefined, worker: WorkerFacts, effects: ClusterEffect[], now: number): void {
    if (!plan) return;
    const asked = this.#asked;
    const rank = plan.ranks.find((candidate) => candidate.nodeId === selfId);
    if (asked?.plan === plan) {
      if (!rank || !lacks(plan, worker) || !worker.healthy && worker.phase !== "failed") return;
      const waitMs = worker.phase === "failed" ? RETRY_FAILED_MS : asked.workerIncarnation === worker.incarnation ? RETRY_MS : 0;
      if (now - asked.at < waitMs) return;
    }
    this.#asked = { plan, at: now, workerIncarnation: worker.incarnation };
    effects.push({ kind: "applyPlan", plan, rank });
  }
}

function lacks(plan: Plan, { phase, loaded }: WorkerFacts): boolean {
  if (phase === "loading" || phase === "absent") return false;
  return !loaded || loaded.planVersion !== plan.version || !sameEpoch(loaded.epoch, plan.epoch);
}
