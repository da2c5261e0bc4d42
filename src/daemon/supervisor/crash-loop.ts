/**
 * Tells a worker that dies now and then from one that cannot live. Deaths count in a row: a life that loaded its stage and
 * computed, or lived on for a while, ends the row. From the third death on loads wait, twice as long each time; from the sixth on
 * the planner is told to go round, and after a probation without a death it may come back. Never for good.
 * A worker that proves itself and still dies all the time (one request that kills it) is caught by the rate.
 */
import { backoffMs } from "../../core/backoff.js";
import { type Millis, millis } from "../../core/ids.js";

export interface CrashRecord {
  readonly inARow: number;
  /** Times of the latest deaths, oldest first; at most `rateDeaths`. */
  readonly deaths: readonly Millis[];
  /** The planner should go round, until then; undefined: no loop. */
  readonly loopUntil: Millis | undefined;
  /** Loops declared without a proven life between them: probation grows with it. */
  readonly episodes: number;
  readonly loadNotBefore: Millis;
}

const freeDeaths = 2;
const loopDeaths = 6;
const rateDeaths = 20;
const rateWindowMs = 60_000;
const loadBackoff = { initialMs: 500, factor: 2, maxMs: 15_000 };
const probation = { initialMs: 20_000, factor: 2, maxMs: 600_000 };

export const noCrashes: CrashRecord = Object.freeze({ inARow: 0, deaths: [], loopUntil: undefined, episodes: 0, loadNotBefore: millis(0) });

/**
 * @param life how far the dead worker came. One that died `untried`, while it only waited to be told what to load, says nothing about
 * loading: else every death during a wait would make the next wait longer.
 */
export function afterDeath(record: CrashRecord, life: "proven" | "unproven" | "untried", now: Millis): CrashRecord {
  const inARow = life === "proven" ? 1 : life === "unproven" ? record.inARow + 1 : record.inARow;
  const deaths = [...record.deaths, now].slice(-rateDeaths);
  const tooOften = deaths.length === rateDeaths && now - deaths[0]! < rateWindowMs;
  const looping = inARow >= loopDeaths || tooOften;
  if (life === "untried" && !tooOften) return { ...record, deaths };
  return {
    inARow,
    deaths,
    loopUntil: looping ? millis(now + backoffMs(probation, record.episodes)) : record.loopUntil,
    episodes: looping && record.loopUntil === undefined ? record.episodes + 1 : record.episodes,
    loadNotBefore: inARow > freeDeaths ? millis(now + backoffMs(loadBackoff, inARow - freeDeaths - 1)) : tooOften ? millis(now + loadBackoff.maxMs) : now,
  };
}

/** The worker lives well: the row ends, and with it the loop, unless the rate of deaths declared it. */
export function afterProof(record: CrashRecord): CrashRecord {
  if (record.inARow === 0) return record;
  const byRate = record.deaths.length === rateDeaths && record.inARow < loopDeaths;
  return { ...record, inARow: 0, episodes: byRate ? record.episodes : 0, loopUntil: byRate ? record.loopUntil : undefined };
}

/** Probation ends by itself. */
export function afterTime(record: CrashRecord, now: Millis): CrashRecord {
  return record.loopUntil === undefined || now < record.loopUntil ? record : { ...record, loopUntil: undefined, inARow: Math.min(record.inARow, loopDeaths - 1) };
}
