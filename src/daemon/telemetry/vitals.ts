/**
 * How a node is doing now, in numbers small enough to tell the others every second: its worker's load, its front door's latencies,
 * and, on rank 0, the ring. Rates are over the last few seconds, latencies means of the last minute. A pure computation over samples.
 */
import type { ProbeReply, RankTime } from "../../core/worker-protocol.js";
import type { SchedulerSnapshot } from "../inference/scheduler-types.js";
import { hopMs } from "../metrics.js";

export interface WorkerVitals {
  /** Share of the time that the engine computed, 0 to 1. */
  readonly busy_ratio: number;
  readonly cpu_cores: number;
  readonly steps_per_second: number;
  readonly rss_bytes: number;
  readonly kv_bytes: number;
}

export interface DoorVitals {
  readonly tokens_per_second: number;
  /** Means of the last minute; null while there were none. */
  readonly first_token_ms: number | null;
  readonly inter_token_ms: number | null;
  /** First tokens of the last minute: the weight of the means. */
  readonly answers: number;
}

export interface RingVitals {
  readonly requests_running: number;
  readonly requests_waiting: number;
  readonly tokens_per_second: number;
  readonly prefill_tokens_per_second: number;
  readonly kv_use_ratio: number;
  /** Of the latest steps; null when there were none for a while. */
  readonly step_ms: number | null;
  readonly hop_ms: number | null;
  /** What each rank computed of them. */
  readonly ranks: readonly { readonly rank: number; readonly compute_ms: number }[];
}

export interface Vitals { readonly worker: WorkerVitals | null; readonly door: DoorVitals; readonly ring: RingVitals | null }

export interface StepSeen { readonly computeMs: number; readonly ringMs: number; readonly times: readonly RankTime[]; readonly worldSize: number; readonly durationMs: number }

const rateWindowMs = 4_000;
const latencyWindowMs = 60_000;
/** Weight of the newest step. */
const stepWeight = 0.1;
const stepStaleMs = 5_000;

interface Sample {
  readonly atMs: number;
  readonly worker: Pick<ProbeReply, "incarnation" | "stepsTotal" | "computeSecondsTotal" | "cpuSecondsTotal"> | undefined;
  readonly decoded: number;
  readonly prefilled: number;
  readonly doorTokens: number;
}

/** What one second of the front door came to. */
interface Second { readonly atMs: number; first: number; firstMs: number; gaps: number; gapMs: number }

export class VitalsMeter {
  readonly #samples: Sample[] = [];
  readonly #minute: Second[] = [];
  #doorTokens = 0;
  #step: { readonly atMs: number; readonly stepMs: number; readonly hopMs: number | null; readonly ranks: readonly number[] } | undefined;

  firstToken(seconds: number, now: number): void {
    const slot = this.#slot(now);
    slot.first += 1;
    slot.firstMs += seconds * 1_000;
    this.#doorTokens += 1;
  }

  /** @param seconds a token, of those that arrived together. */
  interToken(seconds: number, now: number): void {
    const slot = this.#slot(now);
    slot.gaps += 1;
    slot.gapMs += seconds * 1_000;
    this.#doorTokens += 1;
  }

  step(step: StepSeen, now: number): void {
    const fresh = { stepMs: step.durationMs, hopMs: hopMs(step, step.worldSize) ?? null, ranks: [step.computeMs, ...step.times.map(({ computeMs }) => computeMs)] };
    const last = this.#step;
    if (!last || now - last.atMs > stepStaleMs || last.ranks.length !== fresh.ranks.length) { this.#step = { atMs: now, ...fresh }; return; }
    const blend = (old: number, value: number): number => old + stepWeight * (value - old);
    this.#step = {
      atMs: now, stepMs: blend(last.stepMs, fresh.stepMs), hopMs: fresh.hopMs === null || last.hopMs === null ? fresh.hopMs : blend(last.hopMs, fresh.hopMs),
      ranks: fresh.ranks.map((value, rank) => blend(last.ranks[rank] ?? value, value)),
    };
  }

  /** Call about once a second. @param leads whether this node's scheduler is the cluster's. */
  measure(now: number, worker: ProbeReply | undefined, scheduler: SchedulerSnapshot, leads: boolean): Vitals {
    const { totals } = scheduler;
    const sample: Sample = { atMs: now, worker, decoded: totals.decodedTokens, prefilled: totals.prefillTokens, doorTokens: this.#doorTokens };
    this.#samples.push(sample);
    while (this.#samples.length > 2 && now - (this.#samples[1]?.atMs ?? now) >= rateWindowMs) this.#samples.shift();
    while (this.#minute[0] && now - this.#minute[0].atMs > latencyWindowMs) this.#minute.shift();
    const before = this.#samples[0] ?? sample;
    const perSecond = (value: (of: Sample) => number): number => {
      const seconds = (now - before.atMs) / 1_000;
      return seconds > 0 ? round(Math.max(0, value(sample) - value(before)) / seconds) : 0;
    };
    return { worker: worker ? workerVitals(worker, before, perSecond) : null, door: this.#door(perSecond), ring: leads ? this.#ring(scheduler, perSecond, now) : null };
  }

  #door(perSecond: (value: (of: Sample) => number) => number): DoorVitals {
    const sum = { first: 0, firstMs: 0, gaps: 0, gapMs: 0 };
    for (const { first, firstMs, gaps, gapMs } of this.#minute) { sum.first += first; sum.firstMs += firstMs; sum.gaps += gaps; sum.gapMs += gapMs; }
    return {
      tokens_per_second: perSecond(({ doorTokens }) => doorTokens), answers: sum.first,
      first_token_ms: sum.first > 0 ? round(sum.firstMs / sum.first) : null, inter_token_ms: sum.gaps > 0 ? round(sum.gapMs / sum.gaps) : null,
    };
  }

  #ring({ running, queued, kvTokens }: SchedulerSnapshot, perSecond: (value: (of: Sample) => number) => number, now: number): RingVitals {
    const step = this.#step && now - this.#step.atMs <= stepStaleMs ? this.#step : undefined;
    return {
      requests_running: running, requests_waiting: queued,
      tokens_per_second: perSecond(({ decoded }) => decoded), prefill_tokens_per_second: perSecond(({ prefilled }) => prefilled),
      kv_use_ratio: kvTokens.max > 0 ? round(kvTokens.reserved / kvTokens.max) : 0,
      step_ms: step ? round(step.stepMs) : null, hop_ms: step === undefined || step.hopMs === null ? null : round(step.hopMs),
      ranks: step ? step.ranks.map((compute, rank) => ({ rank, compute_ms: round(compute) })) : [],
    };
  }

  /** Of the present second. */
  #slot(now: number): Second {
    const last = this.#minute.at(-1);
    if (last && now - last.atMs < 1_000) return last;
    const slot = { atMs: now, first: 0, firstMs: 0, gaps: 0, gapMs: 0 };
    this.#minute.push(slot);
    return slot;
  }
}

function workerVitals(worker: ProbeReply, before: Sample, perSecond: (value: (of: Sample) => number) => number): WorkerVitals {
  // The counters of another process start from nothing.
  const rate = (value: (of: NonNullable<Sample["worker"]>) => number): number =>
    (before.worker?.incarnation === worker.incarnation ? perSecond((sample) => (sample.worker ? value(sample.worker) : 0)) : 0);
  return {
    busy_ratio: Math.min(1, rate(({ computeSecondsTotal }) => computeSecondsTotal)), cpu_cores: Math.round(rate(({ cpuSecondsTotal }) => cpuSecondsTotal) * 20) / 20,
    steps_per_second: rate(({ stepsTotal }) => stepsTotal), rss_bytes: round(worker.rssBytes), kv_bytes: worker.kvBytes,
  };
}

/** Three significant digits, so that numbers that mean the same are the same. */
const round = (value: number): number => Number(value.toPrecision(3));
