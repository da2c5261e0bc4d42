/**
 * The leader's side of answering, in the simulation: the real `Scheduler`, run exactly while its node leads a ready ring (as
 * `ring-control.ts` does), around a model of the ring whose frames travel from worker to worker over connections that keep order.
 */
import { MinidError } from "../../src/core/errors.js";
import { sameEpoch } from "../../src/core/ids.js";
import { greedySampling } from "../../src/core/worker-protocol.js";
import type { ClusterEffect } from "../../src/daemon/cluster/contract.js";
import type { GenerateEvent, GenerateRequest } from "../../src/daemon/inference/generate.js";
import { type SchedulerEffect, type SchedulerInput, type SchedulerStep, defaultSchedulerLimits } from "../../src/daemon/inference/scheduler-types.js";
import { Scheduler } from "../../src/daemon/inference/scheduler.js";
import type { Plan } from "../../src/daemon/planner/plan.js";
import { nextToken } from "../unit/daemon/inference/ring-model.js";
import type { Bug } from "./bugs.js";
import type { Actor, Machine } from "./machine.js";
import { viewOf } from "./rules.js";
import { type SimFrame, type SimStage, StageRefusal, checksum } from "./sim-stage.js";
import type { World } from "./world.js";

/** gRPC keepalive: a peer that is silent for this long is gone. */
export const KEEPALIVE_MS = 3_000;
const REFUSED_MS = 5;
const TICK_MS = 250;
const COMPUTE_MS = 12;
const RESTART_RING_MS = 50;

export interface Sink { readonly event: (event: GenerateEvent) => void; readonly failed: (error: MinidError) => void }
interface Ring {
  readonly plan: Plan;
  readonly run: number;
  readonly arrivals: number[];
  /** Frames. */
  sent: number;
  /** A frame was lost on the way, so none may follow it. */
  broken: boolean;
  /** Steps at rank 0, because they or one before them feeds a token that is not sampled yet. */
  readonly waiting: SchedulerStep[];
  /** Slots that frames under way sample from. */
  readonly sampling: Set<number>;
}

/** Effects after which the view may say something else about who computes. */
export function concernsReadiness(effect: ClusterEffect): boolean {
  if (effect.kind === "event") return effect.event.kind === "ready" || effect.event.kind === "not_ready" || effect.event.kind === "leader_changed" || effect.event.kind === "unplannable";
  return effect.kind === "stepDown" || effect.kind === "becomeLeader" || effect.kind === "applyPlan";
}

export class RingActor implements Actor {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #replay: "prefill" | "decode";
  readonly #bug: Bug;
  #scheduler = new Scheduler(defaultSchedulerLimits);
  #ring: Ring | undefined;
  #nextId = 1;
  #stale = true;
  #pausedUntil = 0;
  readonly #sinks = new Map<number, Sink>();

  constructor(world: World, machine: Machine, replay: "prefill" | "decode", bug: Bug) {
    this.#bug = bug;
    this.#world = world;
    this.#machine = machine;
    this.#replay = replay;
  }

  effect(effect: ClusterEffect): void { if (concernsReadiness(effect)) this.#stale = true; }

  settled(): void {
    if (!this.#stale && (this.#ring || this.#world.agenda.now < this.#pausedUntil || this.#pausedUntil === 0)) return;
    this.#stale = false;
    const view = viewOf(this.#machine);
    const plan = view.role === "leader" && view.ready ? view.plan : undefined;
    if (this.#ring && this.#ring.plan !== plan) { this.#ring = undefined; this.#input({ kind: "notReady", reason: "another plan, or none" }); }
    if (plan && !this.#ring && this.#world.agenda.now >= this.#pausedUntil) this.#start(plan);
  }

  crashed(): void {
    this.#scheduler = new Scheduler(defaultSchedulerLimits);
    this.#ring = undefined;
    this.#sinks.clear();
    this.#stale = true;
    this.#pausedUntil = 0;
  }

  /** A call has arrived. */
  submit(request: GenerateRequest, sink: Sink): void {
    if (!this.#ring) { sink.failed(new MinidError("no_leader", "this node leads no ready ring")); return; }
    const id = this.#nextId;
    this.#nextId += 1;
    this.#sinks.set(id, sink);
    const { prompt, emitted, maxTokens, stopTokens, sampling } = request;
    this.#input({ kind: "submit", id, request: { prompt, emitted, maxTokens, stopTokens, sampling: { ...greedySampling, seed: sampling.seed } } });
  }

  #start(plan: Plan): void {
    this.#ring = { plan, run: this.#world.newRunId(), arrivals: [], sent: 0, broken: false, waiting: [], sampling: new Set() };
    const { slots, kvTokensMax, contextMax, batchMax } = plan;
    this.#input({ kind: "ready", plan: { worldSize: plan.ranks.length, slots, kvTokensMax, contextMax, batchMax, prefillChunk: 8, engineReplay: this.#replay } });
    this.#tick(this.#ring);
  }

  #tick(ring: Ring): void {
    this.#world.agenda.after(TICK_MS, () => {
      if (this.#ring !== ring) return;
      this.#machine.whenRunning(() => { if (this.#ring === ring) this.#input({ kind: "tick" }); });
      this.#tick(ring);
    });
  }

  #input(input: SchedulerInput): void {
    for (const effect of this.#scheduler.step(input, this.#machine.monotonic())) this.#execute(effect);
  }

  #execute(effect: SchedulerEffect): void {
    switch (effect.kind) {
      case "sendStep": {
        const ring = this.#ring;
        if (!ring) return;
        ring.waiting.push(effect.step);
        this.#begin(ring);
        return;
      }
      case "admitted": this.#sinks.get(effect.id)?.event({ kind: "admitted", cachedPromptTokens: effect.cachedPromptTokens }); return;
      case "emit": this.#sinks.get(effect.id)?.event({ kind: "tokens", tokens: [effect.token] }); return;
      case "finish": this.#sinks.get(effect.id)?.event({ kind: "finished", reason: effect.reason, cachedPromptTokens: effect.cachedPromptTokens }); this.#sinks.delete(effect.id); return;
      case "fail": { const sink = this.#sinks.get(effect.id); this.#sinks.delete(effect.id); sink?.failed(new MinidError(effect.code, effect.message)); return; }
      case "ringLost":
        this.#ring = undefined;
        this.#pausedUntil = this.#world.agenda.now + RESTART_RING_MS;
    }
  }

  /** What can begin, in the order of submission, unless another run has taken over. */
  #begin(ring: Ring): void {
    const { epoch, version: planVersion } = ring.plan;
    for (let step = ring.waiting[0]; step && this.#ring === ring; step = ring.waiting[0]) {
      if (step.spans.some(({ slot, tokens }) => tokens.length === 0 && ring.sampling.has(slot))) return;
      ring.waiting.shift();
      for (const { slot, sample } of step.spans) if (sample) ring.sampling.add(slot);
      ring.sent += 1;
      this.#compute(ring, { epoch, planVersion, run: ring.run, place: ring.sent, ...step, sums: [] }, 0);
    }
  }

  /** The frame reaches the worker of a rank over a connection that keeps order, is computed there, and goes on. */
  #compute(ring: Ring, frame: SimFrame, rank: number): void {
    const { network, agenda, random, machines } = this.#world;
    const { ranks } = ring.plan;
    const from = rank === 0 ? this.#machine : machines.find((machine) => machine.id === ranks[rank - 1]?.nodeId);
    const target = machines.find((machine) => machine.id === ranks[rank]?.nodeId);
    const fail = (why: string, afterMs: number) => {
      ring.broken = true;
      agenda.after(afterMs, () => this.#answer(ring, { kind: "stepFailed", code: "stage_lost", message: why }));
    };
    if (ring.broken) return;
    if (!from || !target) { fail("a rank is gone", KEEPALIVE_MS); return; }
    if (from !== target && (!network.linked(from.index, target.index) || !network.linked(target.index, from.index) || !target.hostUp)) { fail("the link is gone", KEEPALIVE_MS); return; }
    const arrival = Math.max((ring.arrivals[rank] ?? 0) + 0.001, agenda.now + network.transit(from.index, target.index) + random.between(1, COMPUTE_MS));
    ring.arrivals[rank] = arrival;
    agenda.at(arrival, () => {
      if (ring.broken) return;
      const { stage } = target.worker;
      if (!stage || !this.#holds(stage, frame)) { fail(`rank ${rank} holds another stage`, REFUSED_MS); return; }
      try {
        if (this.#bug.runsUnfenced !== true) stage.order.admit(frame);
        stage.operate(frame.ops);
        const spans = rank === 0 ? stage.embed(frame.spans) : frame.spans;
        const sums = stage.forward(spans);
        // Where the ranks disagree the activations are wrong, and so will be what is sampled from them.
        const agreed = rank === 0 ? sums : sums.map((sum, index) => (sum === frame.sums[index] ? sum : -1));
        const next = { ...frame, spans, sums: agreed };
        if (rank + 1 < ranks.length) this.#compute(ring, next, rank + 1);
        else this.#sample(ring, next, target);
      } catch (error) {
        if (!(error instanceof StageRefusal) && !(error instanceof MinidError)) throw error;
        fail(error.message, REFUSED_MS);
      }
    });
  }

  #sample(ring: Ring, frame: SimFrame, last: Machine): void {
    const { agenda, network } = this.#world;
    const back = Math.max((ring.arrivals[ring.plan.ranks.length] ?? 0) + 0.001, agenda.now + network.transit(last.index, this.#machine.index));
    ring.arrivals[ring.plan.ranks.length] = back;
    agenda.at(back, () => {
      const { stage } = this.#machine.worker;
      if (!stage || !this.#holds(stage, frame)) {
        this.#answer(ring, { kind: "stepFailed", code: "stage_lost", message: "rank 0 holds another stage" });
        return;
      }
      // What comes back for an earlier run is nothing that rank 0 waits for.
      if (!stage.order.current(frame.run) && this.#bug.runsUnfenced !== true) return;
      const sampled = frame.spans.flatMap((span, index) => {
        if (!span.sample) return [];
        const { history, seed } = stage.text(span.slot);
        const token = frame.sums[index] === checksum(history) ? nextToken(history, seed) : nextToken([...history, 1], seed + 1);
        history.push(token);
        ring.sampling.delete(span.slot);
        return [{ slot: span.slot, token, logprob: 0, top: [] }];
      });
      this.#begin(ring);
      this.#answer(ring, { kind: "stepResult", stepSeq: frame.stepSeq, sampled });
    });
  }

  /** Exactly the stage that the frame is for. */
  #holds(stage: SimStage, frame: SimFrame): boolean {
    return this.#bug.stepsUnfenced === true || (sameEpoch(stage.epoch, frame.epoch) && stage.planVersion === frame.planVersion);
  }

  #answer(ring: Ring, input: SchedulerInput): void {
    this.#machine.whenRunning(() => { if (this.#ring === ring) this.#input(input); });
  }
}
