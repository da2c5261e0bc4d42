/**
 * The labels that series about faults are shown with from the start, at zero. `increase()` and `rate()` do not see a series' first
 * value: were a series born with the first fault of its kind, every panel and alert would miss that fault.
 */
import type { ErrorCode } from "../../core/errors.js";
import type { LeaderChangeCause } from "../election/cause.js";
import type { MemberState } from "../membership/member.js";
import type { KillReason } from "../supervisor/types.js";

// Records, so that the compiler finds what is missing.
const every = <Name extends string>(names: Record<Name, true>): Name[] => Object.keys(names) as Name[];

export const restartReasons = every<KillReason | "died">({ died: true, unresponsive: true, stuck_computing: true, stuck_loading: true, never_started: true, lied: true });
export const electionCauses = every<LeaderChangeCause>({
  no_leader: true, leader_dead: true, leader_left: true, leader_restarted: true, leader_draining: true, leader_worker_failed: true, leader_resigned: true,
  fenced: true, higher_epoch: true, slept: true, leaving: true,
});
export const memberStates = every<MemberState>({ introduced: true, alive: true, suspect: true, dead: true, left: true });
export const finishReasons = ["stop", "length"] as const;

/** What an answer in flight is usually carried over. */
const answerFaults: readonly ErrorCode[] = ["stage_lost", "no_leader", "not_ready", "engine_failed"];

export const recoveries: readonly { readonly cause: string; readonly phases: readonly string[] }[] = [
  ...answerFaults.map((cause) => ({ cause, phases: ["detect", "wait", "replay", "total"] })),
  ...electionCauses.map((cause) => ({ cause, phases: ["elect", "plan", "load"] })),
  { cause: "machine_lost", phases: ["detect", "plan", "load"] },
  { cause: "plan", phases: ["load"] },
  { cause: "worker_restart", phases: ["detect", "restart", "load", "total"] },
];
