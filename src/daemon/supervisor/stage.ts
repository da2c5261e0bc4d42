/** From a plan to what this machine's worker is asked to load. */
import { dialTarget } from "../../core/dial.js";
import { invariant } from "../../core/invariant.js";
import { peerName } from "../../core/transport.js";
import type { LoadRequest } from "../../core/worker-protocol.js";
import type { Plan, PlanRank } from "../planner/plan.js";

/** What this machine knows and a plan does not say. */
export interface LocalStageSettings {
  /** Where the plan's model is on this machine's disk. */
  readonly modelDir: string;
  readonly engine: string;
  readonly numerics: string;
  /** 0: the engine decides. */
  readonly threads: number;
}

export function loadRequestOf(plan: Plan, rank: PlanRank, local: LocalStageSettings): LoadRequest {
  const next = plan.ranks[(rank.rank + 1) % plan.ranks.length];
  invariant(next, `plan ${plan.version} has no rank after ${rank.rank}`);
  const alone = plan.ranks.length === 1;
  return {
    epoch: plan.epoch,
    planVersion: plan.version,
    modelId: plan.model.modelId,
    modelDir: local.modelDir,
    rank: rank.rank,
    worldSize: plan.ranks.length,
    layerFirst: rank.layers.first,
    layerEnd: rank.layers.end,
    engine: local.engine,
    numerics: local.numerics,
    threads: local.threads,
    slots: plan.slots,
    contextMax: plan.contextMax,
    batchMax: plan.batchMax,
    nextAddress: alone ? "" : dialTarget(next.workerAddresses),
    nextName: alone ? "" : peerName(next.nodeId),
  };
}
