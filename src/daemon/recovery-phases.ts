/**
 * How long the cluster's part of a recovery takes, phase by phase, read from its own events: a machine's silence until it counts as dead
 * (detect), an election (elect), from the loss until a new plan (plan), from the plan until every stage is loaded (load). The worker's
 * part is told by the supervisor, the answer's (detect, wait, replay) by the front door. Pure: events and times in, figures out.
 */
import type { ClusterEvent } from "./cluster/contract.js";

export interface PhaseTime { readonly cause: string; readonly phase: "detect" | "elect" | "plan" | "load"; readonly tookMs: number }

/** A loss that no plan has answered after this long was not what the plan answered. */
const lossMsMax = 60_000;

export class RecoveryPhases {
  #loss: { readonly cause: string; readonly atMs: number } | undefined;
  #readyVersion = 0;
  /** What the plan that is being loaded answers. */
  #planCause = "plan";

  /** @param silentMs for a member that died: since its last sign of life. */
  event(event: ClusterEvent, nowMs: number, silentMs = 0): readonly PhaseTime[] {
    switch (event.kind) {
      case "member":
        if (event.to !== "dead") return [];
        this.#loss ??= { cause: "machine_lost", atMs: nowMs };
        return [{ cause: "machine_lost", phase: "detect", tookMs: silentMs }];
      case "election_won":
        this.#loss = { cause: event.cause, atMs: nowMs };
        return [{ cause: event.cause, phase: "elect", tookMs: event.tookMs }];
      case "planned": {
        const loss = this.#loss;
        this.#loss = undefined;
        this.#planCause = loss?.cause ?? "plan";
        return loss && nowMs - loss.atMs < lossMsMax ? [{ cause: loss.cause, phase: "plan", tookMs: nowMs - loss.atMs }] : [];
      }
      case "ready":
        // Later times of the same plan are workers that came back: the supervisor tells of those.
        if (event.version <= this.#readyVersion) return [];
        this.#readyVersion = event.version;
        return [{ cause: this.#planCause, phase: "load", tookMs: event.sincePlanMs }];
      default: return [];
    }
  }
}
