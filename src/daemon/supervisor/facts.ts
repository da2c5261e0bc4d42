/** What the cluster is told about this machine's worker, derived from the supervisor's state; nothing in it changes with every probe. */
import { epochZero, type Millis, sameEpoch } from "../../core/ids.js";
import type { Phase } from "../../core/worker-protocol.js";
import { type LoadedStage, TEXT_MAX, type WorkerFacts, type WorkerPhase } from "../membership/facts.js";
import { absentMsMax } from "./bounds.js";
import type { SupervisorState } from "./types.js";

export const absentWorker: WorkerFacts = Object.freeze({ incarnation: "", phase: "absent", restarts: 0, acceptedEpoch: epochZero, healthy: false, crashLooping: false, error: "" });

const phases: Record<Phase, WorkerPhase> = {
  PHASE_EMPTY: "empty", PHASE_LOADING: "loading", PHASE_IDLE: "idle",
  // The same to everybody but the supervisor, and too lively to tell the whole cluster.
  PHASE_BUSY: "idle",
  PHASE_FAILED: "failed", PHASE_DRAINING: "draining",
};

export function factsOf(state: Omit<SupervisorState, "reported">, now: Millis): WorkerFacts {
  const { worker, crashes, failures, restarts } = state;
  const crashLooping = crashes.loopUntil !== undefined || neverCame(state, now);
  const error = errorOf(state, crashLooping, now).slice(0, TEXT_MAX);
  if (!worker) return { ...absentWorker, restarts, crashLooping, error };
  const { reply } = worker;
  const answers = failures === 0 && state.killed === undefined;
  const loaded = (reply.phase === "PHASE_IDLE" || reply.phase === "PHASE_BUSY") && reply.stage !== null;
  return {
    ...(answers ? { pid: reply.pid } : {}),
    incarnation: reply.incarnation,
    phase: answers ? phases[reply.phase] : "absent",
    restarts,
    acceptedEpoch: worker.epoch,
    ...(answers && loaded && reply.stage ? { loaded: { epoch: worker.epoch, planVersion: reply.stage.planVersion, layers: { first: reply.stage.layerFirst, end: reply.stage.layerEnd } } } : {}),
    ...(loaded && (reply.stage?.replay === "decode" || reply.stage?.replay === "prefill") ? { replay: reply.stage.replay } : {}),
    healthy: answers && !crashLooping && reply.phase !== "PHASE_FAILED" && reply.phase !== "PHASE_DRAINING",
    crashLooping,
    error,
  };
}

type Plain = Exclude<keyof WorkerFacts, "acceptedEpoch" | "loaded">;
/** A fact that is missing here does not compile. */
const plain: Readonly<Record<Plain, true>> = { pid: true, restarts: true, replay: true, incarnation: true, phase: true, healthy: true, crashLooping: true, error: true };
const plainKeys = Object.keys(plain) as readonly Plain[];

/** Compared with every probe, so field by field. */
export function sameFacts(a: WorkerFacts, b: WorkerFacts): boolean {
  return plainKeys.every((key) => a[key] === b[key]) && sameEpoch(a.acceptedEpoch, b.acceptedEpoch) && sameLoaded(a.loaded, b.loaded);
}

function sameLoaded(a: LoadedStage | undefined, b: LoadedStage | undefined): boolean {
  if (!a || !b) return a === b;
  return sameEpoch(a.epoch, b.epoch) && a.planVersion === b.planVersion && a.layers?.first === b.layers?.first && a.layers?.end === b.layers?.end;
}

function neverCame(state: Omit<SupervisorState, "reported">, now: Millis): boolean {
  return (state.worker === undefined || state.failures > 0) && now - (state.failures > 0 ? state.failingSince : state.startedAt) > absentMsMax;
}

function errorOf(state: Omit<SupervisorState, "reported">, crashLooping: boolean, now: Millis): string {
  const { worker, crashes, failures } = state;
  if (state.load.error !== "") return state.load.error;
  if (neverCame(state, now)) return `the worker does not start: see logs/worker.log${state.lastError === "" ? "" : ` (${state.lastError})`}`;
  if (crashLooping) return `the worker died ${crashes.inARow} times in a row: see logs/worker.log`;
  if (state.killed) return `the worker was killed: ${state.killed.reason.replaceAll("_", " ")}`;
  if (failures > 0) return `the worker does not answer: ${state.lastError}`;
  return worker && worker.reply.phase === "PHASE_FAILED" ? worker.reply.error : "";
}
