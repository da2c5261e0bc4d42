/** Probe's answer, put together from what the main thread already knows: nothing here waits for anything. */
import type { ProbeReply, StageStatus } from "../core/worker-protocol.js";
import type { EngineHost } from "./engine-host.js";
import type { EpochStore } from "./epoch-store.js";
import type { LoopLag } from "./loop-lag.js";
import type { PhaseClock } from "./phase-clock.js";
import type { StageControl } from "./stage-control.js";

export interface ProbeSources {
  readonly incarnation: string;
  readonly host: EngineHost;
  readonly epochs: EpochStore;
  readonly control: StageControl;
  readonly phases: PhaseClock;
  readonly loopLag: LoopLag;
}

export function probeReply({ incarnation, host, epochs, control, phases, loopLag }: ProbeSources): ProbeReply {
  const { board } = host;
  return {
    incarnation,
    pid: process.pid,
    epoch: epochs.highest,
    phase: phases.phase,
    inflight: host.inflight,
    stepSeq: board.get("progress"),
    phaseAgeMs: Math.round(phases.ageMs),
    progressAgeMs: Math.round(board.ageMs(phases.sinceNs)),
    loopLagMs: Math.round(loopLag.worstMs),
    bytesLoaded: board.get("bytesLoaded"),
    bytesTotal: board.get("bytesTotal"),
    stage: stageStatus(control),
    errorCode: control.failure?.code ?? "",
    error: control.failure?.message ?? "",
    rssBytes: process.memoryUsage.rss(),
    kvBytes: board.get("kvBytes"),
    engine: control.stage?.info?.engine ?? "",
    stepsTotal: board.get("steps"),
    computeSecondsTotal: board.get("computeMicros") / 1e6,
    cpuSecondsTotal: cpuSeconds(process.cpuUsage()),
    computeCounts: board.computeCounts(),
  };
}

const cpuSeconds = ({ user, system }: NodeJS.CpuUsage): number => (user + system) / 1e6;

function stageStatus({ stage, wanted }: StageControl): StageStatus | null {
  if (!stage || !wanted) return null;
  const { layerFirst, layerEnd, engine, numerics } = stage.load.options;
  return {
    planVersion: wanted.term.planVersion, modelId: wanted.modelId, rank: wanted.rank, worldSize: wanted.worldSize,
    layerFirst, layerEnd, engine, numerics, replay: stage.info?.replay ?? "",
  };
}
