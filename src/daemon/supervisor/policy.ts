/**
 * Who supervises the worker decides here, and only here: when to look, when to load, when to kill, what to tell the cluster.
 * pm2 brings the dead back; this never starts a process.
 *
 * Invariants:
 *  - Readiness falls at the first failed probe; a kill needs several that span a bound, or a phase's bound without progress, or a lie.
 *  - Whoever answers and moves is never killed, however slow.
 *  - At most one load runs, only towards the process that answers now, and only for the newest assignment.
 *  - Nothing is given up: crash loops and refused loads are tried again, ever more slowly up to a bound.
 * No clock, no I/O, no randomness: `driver.ts` executes.
 */
import { backoffMs } from "../../core/backoff.js";
import { type Millis, millis, sameEpoch } from "../../core/ids.js";
import type { LoadRequest, ProbeReply } from "../../core/worker-protocol.js";
import * as bounds from "./bounds.js";
import { afterDeath, afterProof, afterTime, noCrashes } from "./crash-loop.js";
import { absentWorker, factsOf, sameFacts } from "./facts.js";
import { judge } from "./judgement.js";
import type { KillReason, LoadOutcome, Step, SupervisorEffect, SupervisorInput, SupervisorState, WorkerProcess } from "./types.js";

export interface SupervisorConfig { readonly probeIntervalMs: number }

export function initialState(now: Millis): SupervisorState {
  return {
    target: undefined, worker: undefined,
    failures: 0, failingSince: now, excused: 0, lastError: "", starting: undefined,
    probe: { nextId: 1, outstanding: undefined, dueAt: now, lastAnsweredId: 0 },
    load: { nextId: 1, running: undefined, refusals: 0, notBefore: now, error: "", needsProbeFrom: 0, triedIn: "" },
    killed: undefined, outage: undefined, crashes: noCrashes, restarts: 0,
    pace: { computeGapMs: 0, loadGapMs: 0, probeMs: 0 }, startedAt: now, reported: absentWorker,
  };
}

export function step(before: SupervisorState, input: SupervisorInput, now: Millis, config: SupervisorConfig): Step {
  const turn = new Turn(before, now, config);
  switch (input.kind) {
    case "tick": break;
    case "probed": turn.probed(input); break;
    case "probeFailed": turn.probeFailed(input); break;
    case "suspected": turn.lookNow(); break;
    case "assigned": turn.assigned(input.request); break;
    case "loadEnded": turn.loadEnded(input.id, input.outcome); break;
  }
  turn.settle();
  return { state: turn.state, effects: turn.effects };
}

/** The worker has exactly this stage, under this epoch. */
export function holds(reply: ProbeReply, request: LoadRequest): boolean {
  const { stage, epoch } = reply;
  return (reply.phase === "PHASE_IDLE" || reply.phase === "PHASE_BUSY") && stage !== null && epoch !== null
    && sameEpoch(epoch, request.epoch) && stage.planVersion === request.planVersion && stage.modelId === request.modelId
    && stage.rank === request.rank && stage.worldSize === request.worldSize && stage.layerFirst === request.layerFirst && stage.layerEnd === request.layerEnd;
}

/** The worker answers, has what it is meant to have, and nothing waits for the time to pass but the next probe. */
export function isSettled({ worker, failures, target, killed }: SupervisorState): boolean {
  return worker !== undefined && failures === 0 && !killed && (!target || holds(worker.reply, target));
}

/** One input's work: a draft of the state and the effects so far. Lives for one call of `step`. */
class Turn {
  state: SupervisorState;
  readonly effects: SupervisorEffect[] = [];
  readonly #before: SupervisorState;
  readonly #now: Millis;
  readonly #config: SupervisorConfig;

  constructor(state: SupervisorState, now: Millis, config: SupervisorConfig) {
    this.state = state;
    this.#before = state;
    this.#now = now;
    this.#config = config;
  }

  probed(input: Extract<SupervisorInput, { kind: "probed" }>): void {
    const { reply, process, id } = input;
    const before = this.state.worker;
    if (this.state.probe.outstanding === id) this.#set({ probe: { ...this.state.probe, outstanding: undefined, dueAt: millis(this.#now + this.#config.probeIntervalMs), lastAnsweredId: id } });
    if (before && before.reply.incarnation !== reply.incarnation) this.#successor(reply);
    const gapMsMax = 2 * (this.#config.probeIntervalMs + bounds.probeTimeoutMs);
    const { seen, pace, verdict } = judge(before, reply, process, { ...this.state.pace, probeMs: bounds.slower(this.state.pace.probeMs, input.tookMs) }, gapMsMax, this.#now);
    this.#set({ worker: seen, pace, failures: 0, excused: 0, lastError: "", starting: undefined });
    if (seen.proven) this.#set({ crashes: afterProof(this.state.crashes) });
    // Whoever survived a kill (it was not sent: the pid was somebody else's) and is well again may go on.
    if (!verdict && this.state.killed && this.#now - this.state.killed.at > bounds.killRepeatMs) this.#set({ killed: undefined });
    if (this.state.outage && this.state.outage.answeredAt === undefined && !this.state.killed) this.#answeredAgain(this.state.outage.foundAt);
    if (verdict) this.#kill(process?.incarnation === reply.incarnation ? process : { pid: reply.pid, incarnation: reply.incarnation }, verdict.reason, verdict.text);
  }

  probeFailed(input: Extract<SupervisorInput, { kind: "probeFailed" }>): void {
    const { process, lagMs } = input;
    const { failures, excused, worker } = this.state;
    if (this.state.probe.outstanding === input.id) this.#set({ probe: { ...this.state.probe, outstanding: undefined, dueAt: millis(this.#now + bounds.failingProbeIntervalMs) } });
    if (lagMs > bounds.excusingLagMs && excused < bounds.excusesMax) { this.#set({ excused: excused + 1 }); return; }
    if (failures === 0 && worker) this.#found(worker.lastAnswerAt);
    this.#set({ failures: failures + 1, failingSince: failures === 0 ? this.#now : this.state.failingSince, lastError: input.error });
    if (process) this.#silentProcess(process);
  }

  /** It is alive and does not answer. */
  #silentProcess(process: WorkerProcess): void {
    const { worker, failures, failingSince, starting, pace } = this.state;
    if (worker?.reply.incarnation === process.incarnation) {
      const silentMs = this.#now - failingSince;
      if (failures >= bounds.failuresBeforeKill && silentMs >= bounds.unresponsiveMsMax(pace)) this.#kill(process, "unresponsive", `no answer to ${failures} probes in ${(silentMs / 1000).toFixed(1)} s`);
      return;
    }
    const since = starting?.incarnation === process.incarnation ? starting.since : this.#now;
    this.#set({ starting: { incarnation: process.incarnation, since } });
    if (this.#now - since > bounds.startingMsMax) this.#kill(process, "never_started", `alive for ${Math.round((this.#now - since) / 1000)} s without one answer`);
  }

  lookNow(): void {
    this.#set({ probe: { ...this.state.probe, dueAt: this.#now } });
  }

  assigned(request: LoadRequest | undefined): void {
    const { load, target } = this.state;
    if (sameRequest(target, request)) return;
    this.#set({ target: request, load: { ...load, running: undefined, refusals: 0, notBefore: this.#now, error: "" } });
    if (load.running) this.#effect({ kind: "cancelLoad", id: load.running.id });
  }

  loadEnded(id: number, outcome: LoadOutcome): void {
    const { load, probe } = this.state;
    if (load.running?.id !== id) return;
    // What a probe that is already under way says is older than this outcome.
    const needsProbeFrom = probe.nextId;
    switch (outcome.kind) {
      case "ready":
        this.#set({ load: { ...load, running: undefined, refusals: 0, error: "", needsProbeFrom } });
        break;
      case "lost":
        this.#set({ load: { ...load, running: undefined, needsProbeFrom } });
        break;
      case "refused": {
        const retryInMs = backoffMs(outcome.retryable ? bounds.retryableRefusal : bounds.lastingRefusal, load.refusals);
        this.#set({ load: { ...load, running: undefined, refusals: load.refusals + 1, notBefore: millis(this.#now + retryInMs), error: `${outcome.code}: ${outcome.message}`, needsProbeFrom } });
        this.#effect({ kind: "event", event: { kind: "loadRefused", code: outcome.code, message: outcome.message, retryInMs } });
        break;
      }
    }
    this.lookNow();
  }

  /** What follows from the state alone, after every input. */
  settle(): void {
    const crashes = afterTime(this.state.crashes, this.#now);
    if (crashes !== this.state.crashes) this.#set({ crashes });
    this.#finishOutage();
    this.#loadIfWanted();
    this.#probeIfDue();
    // Most ticks find a worker that answers and nothing new.
    if (this.state === this.#before && this.state.worker && this.state.failures === 0) return;
    const facts = factsOf(this.state, this.#now);
    if (sameFacts(facts, this.state.reported)) return;
    this.#set({ reported: facts });
    this.#effect({ kind: "report", facts });
  }

  #loadIfWanted(): void {
    const { target, worker, load, failures, killed, crashes, probe } = this.state;
    if (!target || !worker || load.running || failures > 0 || killed) return;
    if (worker.reply.phase === "PHASE_DRAINING" || holds(worker.reply, target)) return;
    if (probe.lastAnsweredId < load.needsProbeFrom || this.#now < load.notBefore || this.#now < crashes.loadNotBefore) return;
    this.#set({ load: { ...load, nextId: load.nextId + 1, running: { id: load.nextId, request: target }, triedIn: worker.reply.incarnation } });
    this.#effect({ kind: "load", id: load.nextId, request: target });
  }

  #probeIfDue(): void {
    const { probe } = this.state;
    if (probe.outstanding !== undefined || this.#now < probe.dueAt) return;
    this.#set({ probe: { ...probe, nextId: probe.nextId + 1, outstanding: probe.nextId } });
    this.#effect({ kind: "probe", id: probe.nextId, timeoutMs: bounds.probeTimeoutMs });
  }

  /** Another process answers: the one before is dead. */
  #successor(reply: ProbeReply): void {
    const { worker, killed, load, crashes, restarts } = this.state;
    const untried = worker?.reply.phase === "PHASE_EMPTY" && load.triedIn !== worker.reply.incarnation;
    const after = afterDeath(crashes, worker?.proven ? "proven" : untried ? "untried" : "unproven", this.#now);
    this.#found(worker?.lastAnswerAt ?? this.#now);
    const foundAt = this.state.outage?.foundAt ?? this.#now;
    this.#set({ crashes: after, restarts: restarts + 1, killed: undefined, load: { ...load, running: undefined, notBefore: this.#now, refusals: 0, error: "" } });
    if (load.running) this.#effect({ kind: "cancelLoad", id: load.running.id });
    this.#effect({ kind: "event", event: { kind: "restarted", reason: killed?.reason ?? "died", incarnation: reply.incarnation } });
    this.#answeredAgain(foundAt);
    if (after.loopUntil !== undefined && crashes.loopUntil === undefined) {
      this.#effect({ kind: "event", event: { kind: "crashLoop", deathsInARow: after.inARow, nextLoadInMs: after.loadNotBefore - this.#now } });
    }
  }

  #kill(process: WorkerProcess, reason: KillReason, text: string): void {
    const { killed } = this.state;
    if (killed?.incarnation === process.incarnation && this.#now - killed.at < bounds.killRepeatMs) return;
    const { worker } = this.state;
    this.#found(worker ? millis(worker.lastAnswerAt - worker.stillMs) : this.#now);
    this.#set({ killed: { incarnation: process.incarnation, reason, at: this.#now } });
    this.#effect({ kind: "kill", process, reason, text });
    this.#set({ probe: { ...this.state.probe, dueAt: millis(this.#now + bounds.failingProbeIntervalMs) } });
  }

  #found(healthyAt: Millis): void {
    if (this.state.outage) return;
    this.#set({ outage: { healthyAt, foundAt: this.#now, answeredAt: undefined } });
    this.#recovery("detect", this.#now - healthyAt);
  }

  #answeredAgain(foundAt: Millis): void {
    const { outage } = this.state;
    if (!outage || outage.answeredAt !== undefined) return;
    this.#set({ outage: { ...outage, answeredAt: this.#now } });
    this.#recovery("restart", this.#now - foundAt);
  }

  /** Over when whoever answers has what it is meant to have. */
  #finishOutage(): void {
    const { outage, worker, target, failures, killed } = this.state;
    if (outage?.answeredAt === undefined || failures > 0 || killed || !worker || (target && !holds(worker.reply, target))) return;
    if (target) this.#recovery("load", this.#now - outage.answeredAt);
    this.#recovery("total", this.#now - outage.healthyAt);
    this.#set({ outage: undefined });
  }

  #recovery(phase: "detect" | "restart" | "load" | "total", tookMs: number): void {
    this.#effect({ kind: "event", event: { kind: "recovery", phase, tookMs } });
  }

  #set(change: Partial<SupervisorState>): void { this.state = { ...this.state, ...change }; }
  #effect(effect: SupervisorEffect): void { this.effects.push(effect); }
}

function sameRequest(a: LoadRequest | undefined, b: LoadRequest | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));
}
