/**
 * Every bound of supervision, in one place. Bounds on stillness stretch with what the machine has shown: the slowest pause that
 * ended by itself, times a factor, within a floor and a ceiling. So a busy or slow machine is given time, and a hang is found anyway.
 */
import type { Pace } from "./types.js";

export const tickIntervalMs = 50;
/** Between probes of a worker that does not answer. */
export const failingProbeIntervalMs = 100;
export const probeTimeoutMs = 1_000;

/** Failed probes in a row before a kill, and the least time that they must span. */
export const failuresBeforeKill = 3;
const unresponsive = { floorMs: 4_000, ceilingMs: 12_000, factor: 20 };
const stillComputing = { floorMs: 8_000, ceilingMs: 120_000, factor: 8 };
const stillLoading = { floorMs: 30_000, ceilingMs: 300_000, factor: 8 };

/** From the run file's appearance to the first answer. */
export const startingMsMax = 30_000;
/** Nothing answers and nothing runs: pm2 needs far less to start a worker that can start. */
export const absentMsMax = 15_000;
/** A kill that has not taken effect is repeated. */
export const killRepeatMs = 2_000;
/** Contradictory answers in a row that count as lying: one may be a race inside the worker. */
export const contradictionsMax = 3;
/** Failures in a row that the agent's own lateness may excuse. */
export const excusesMax = 5;
/** The agent's own lateness from which on a failed probe is excused. */
export const excusingLagMs = 300;

/** A loaded worker that has lived this long has proven itself, even if nobody asked it anything. */
export const provenMs = 3_000;

/** A load that was refused is tried again: soon if the reason can pass, slowly if a person has to act. */
export const retryableRefusal = { initialMs: 500, factor: 2, maxMs: 30_000 };
export const lastingRefusal = { initialMs: 10_000, factor: 2, maxMs: 300_000 };

const decayPerProbe = 0.998;

const stretched = (bound: { floorMs: number; ceilingMs: number; factor: number }, measuredMs: number): number =>
  Math.min(bound.ceilingMs, Math.max(bound.floorMs, bound.factor * measuredMs));

export const unresponsiveMsMax = (pace: Pace): number => stretched(unresponsive, pace.probeMs);
export const stillComputingMsMax = (pace: Pace): number => stretched(stillComputing, pace.computeGapMs);
export const stillLoadingMsMax = (pace: Pace): number => stretched(stillLoading, pace.loadGapMs);

/** The slowest of late, slowly forgotten. */
export const slower = (known: number, measured: number): number => Math.max(known * decayPerProbe, measured);
