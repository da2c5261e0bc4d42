/**
 * What one answer to a probe says about the worker, seen against the answer before: moving, resting, stuck or lying.
 * A lie is what no correct worker says: a counter or an epoch that falls within one process, the pid of another process, or,
 * several times in a row, a phase that contradicts the work in flight.
 * Stillness is summed up over answers, each interval cut to what probing explains: a machine that slept, or an agent that was
 * stopped, does not find its worker stuck.
 */
import { compareEpochs, type Millis } from "../../core/ids.js";
import type { ProbeReply } from "../../core/worker-protocol.js";
import { wireEpoch } from "../../core/worker-protocol.js";
import { contradictionsMax, provenMs, slower, stillComputingMsMax, stillLoadingMsMax } from "./bounds.js";
import type { KillReason, Pace, SeenWorker, WorkerProcess } from "./types.js";

export interface Judgement {
  readonly seen: SeenWorker;
  readonly pace: Pace;
  /** Why it must die. */
  readonly verdict: { readonly reason: KillReason; readonly text: string } | undefined;
}

/** @param answerGapMsMax the longest time between two answers that probing itself explains. */
export function judge(before: SeenWorker | undefined, reply: ProbeReply, process: WorkerProcess | undefined, pace: Pace, answerGapMsMax: number, now: Millis): Judgement {
  const same = before?.reply.incarnation === reply.incarnation ? before : undefined;
  const loading = reply.phase === "PHASE_LOADING";
  const working = loading || reply.phase === "PHASE_BUSY" || reply.inflight > 0;
  const moved = same === undefined || reply.stepSeq !== same.reply.stepSeq || reply.bytesLoaded !== same.reply.bytesLoaded || reply.phase !== same.reply.phase;
  const stillMs = moved || !working ? 0 : same.stillMs + Math.min(now - same.lastAnswerAt, answerGapMsMax);
  const contradictions = contradiction(reply) === undefined ? 0 : (same?.contradictions ?? 0) + 1;
  const ageMs = now - (same?.firstAnswerAt ?? now);
  const seen: SeenWorker = {
    reply,
    epoch: wireEpoch(reply.epoch),
    firstAnswerAt: same?.firstAnswerAt ?? now,
    lastAnswerAt: now,
    stillMs,
    contradictions,
    proven: (same?.proven ?? false) || reply.stepsTotal > 0 || (reply.phase === "PHASE_IDLE" && ageMs >= provenMs),
  };
  return { seen, pace: paced(pace, same, moved), verdict: lie(same, seen, process) ?? stuck(seen, loading, pace) };
}

/** A pause that has just ended teaches how slow a healthy worker can be here; one that goes on does not. */
function paced(pace: Pace, same: SeenWorker | undefined, moved: boolean): Pace {
  if (!same || !moved || same.stillMs === 0) return pace;
  return same.reply.phase === "PHASE_LOADING" ? { ...pace, loadGapMs: slower(pace.loadGapMs, same.stillMs) } : { ...pace, computeGapMs: slower(pace.computeGapMs, same.stillMs) };
}

function lie(same: SeenWorker | undefined, seen: SeenWorker, process: WorkerProcess | undefined): Judgement["verdict"] {
  const { reply } = seen;
  const lied = (text: string) => ({ reason: "lied" as const, text });
  if (process?.incarnation === reply.incarnation && process.pid !== reply.pid) return lied(`answers with pid ${reply.pid}, but its run file says ${process.pid}`);
  if (same && reply.pid !== same.reply.pid) return lied(`changed its pid from ${same.reply.pid} to ${reply.pid} within one incarnation`);
  if (same && reply.stepSeq < same.reply.stepSeq) return lied(`progress counter fell from ${same.reply.stepSeq} to ${reply.stepSeq}`);
  if (same && compareEpochs(seen.epoch, same.epoch) < 0) return lied(`accepted epoch fell from ${same.epoch.counter} to ${seen.epoch.counter}`);
  if (seen.contradictions >= contradictionsMax) return lied(contradiction(reply) ?? "");
  return undefined;
}

function contradiction(reply: ProbeReply): string | undefined {
  const { phase, inflight, stage } = reply;
  if (phase === "PHASE_IDLE" && stage === null) return "says idle without a stage";
  if ((phase === "PHASE_IDLE" || phase === "PHASE_EMPTY") && inflight > 0) return `says ${phase === "PHASE_IDLE" ? "idle" : "empty"} with ${inflight} steps in flight`;
  return undefined;
}

function stuck(seen: SeenWorker, loading: boolean, pace: Pace): Judgement["verdict"] {
  const boundMs = loading ? stillLoadingMsMax(pace) : stillComputingMsMax(pace);
  if (seen.stillMs <= boundMs) return undefined;
  const text = `${loading ? "loading" : "computing"} without progress for ${(seen.stillMs / 1000).toFixed(1)} s, more than ${(boundMs / 1000).toFixed(1)} s`;
  return { reason: loading ? "stuck_loading" : "stuck_computing", text };
}
