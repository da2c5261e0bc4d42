/**
 * One client's answer at one front door, in the simulation: the real `ResumableAnswer` calls whoever leads, over modelled streams, and
 * every token is compared with the answer of a run that nothing disturbs. It ends complete, or with its front door's machine.
 */
import { MinidError } from "../../src/core/errors.js";
import { InvariantViolation } from "../../src/core/invariant.js";
import type { ClusterEffect } from "../../src/daemon/cluster/contract.js";
import type { GenerateEvent, GenerateRequest } from "../../src/daemon/inference/generate.js";
import { ResumableAnswer, type ResumeInput } from "../../src/daemon/inference/resume.js";
import { undisturbed } from "../unit/daemon/inference/ring-model.js";
import type { Bug } from "./bugs.js";
import type { Actor, Machine } from "./machine.js";
import { KEEPALIVE_MS, type Sink, concernsReadiness } from "./ring-actor.js";
import { viewOf } from "./rules.js";
import { Violation } from "./violation.js";
import type { World } from "./world.js";

const LOOK_MS = 250;
const RESET_MS = 5;
const RETRANSMIT_MS = 100;

const lost = (why: string) => new MinidError("stage_lost", why);

/** One direction of a TCP stream: in order, and what meets a broken link is sent again until it gets through. */
class Connection {
  readonly #world: World;
  readonly #from: Machine;
  readonly #to: Machine;
  readonly #queue: (() => void)[] = [];
  #lastAt = 0;

  constructor(world: World, from: Machine, to: Machine) {
    this.#world = world;
    this.#from = from;
    this.#to = to;
  }

  carry(action: () => void): void {
    this.#queue.push(action);
    if (this.#queue.length === 1) this.#pump();
  }

  #pump(): void {
    const { agenda, network } = this.#world;
    const process = this.#from.process;
    for (let action = this.#queue[0]; action; action = this.#queue[0]) {
      if (this.#from !== this.#to && !network.linked(this.#from.index, this.#to.index)) {
        agenda.after(RETRANSMIT_MS, () => { if (process === this.#from.process) this.#pump(); });
        return;
      }
      this.#queue.shift();
      this.#lastAt = Math.max(this.#lastAt + 0.001, agenda.now + (this.#from === this.#to ? 0 : network.transit(this.#from.index, this.#to.index)));
      agenda.at(this.#lastAt, action);
    }
  }
}

export class DoorActor implements Actor {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #request: GenerateRequest;
  readonly #bug: Bug;
  readonly #expected: readonly number[];
  readonly #tokens: number[] = [];
  #answer: ResumableAnswer | undefined;
  #process = 0;
  #waiting = false;
  #stale = true;
  #attempt = 0;
  done = false;

  constructor(world: World, machine: Machine, request: GenerateRequest, bug: Bug) {
    this.#bug = bug;
    this.#world = world;
    this.#machine = machine;
    this.#request = request;
    this.#expected = undisturbed(request.prompt, { seed: request.sampling.seed, maxTokens: request.maxTokens, stopTokens: request.stopTokens, lengthMax: 128 });
  }

  get name(): string { return this.#request.requestId; }
  get machine(): Machine { return this.#machine; }
  get progress(): string { return `${this.#tokens.length} of ${this.#expected.length} tokens`; }

  start(): void {
    if (!this.#machine.running) { this.done = true; return; }
    this.#process = this.#machine.process;
    this.#answer = new ResumableAnswer(this.#request, this.#machine.monotonic());
    this.#input({ kind: "start" });
  }

  effect(effect: ClusterEffect): void { if (concernsReadiness(effect)) this.#stale = true; }

  settled(): void {
    if (!this.#waiting || !this.#stale) return;
    this.#stale = false;
    const view = viewOf(this.#machine);
    if (!view.ready || view.leader === undefined) return;
    this.#waiting = false;
    this.#input({ kind: "leader" });
  }

  /** The client's connection ends with the front door's process: nobody promised otherwise. */
  crashed(): void { this.done = true; }

  #input(input: ResumeInput): void {
    if (this.done || !this.#answer || this.#process !== this.#machine.process) return;
    try {
      for (const effect of this.#answer.step(input, this.#machine.monotonic())) {
        switch (effect.kind) {
          case "findLeader": this.#world.agenda.after(effect.delayMs, () => { this.#waiting = true; this.#stale = true; this.#machine.whenRunning(() => this.settled()); }); break;
          case "call": this.#call(effect.attempt, this.#asSent(effect.request)); break;
          case "deliver": this.#deliver(effect.event); break;
          case "recovered": this.#world.recoveries.push(effect.recovery.detectMs + effect.recovery.waitMs + effect.recovery.replayMs); break;
          case "fail": throw new Violation("every answer is completed", `${this.name} at ${this.#machine.name} failed with ${effect.error.code}: ${effect.error.message}`);
        }
      }
    } catch (error) {
      if (error instanceof InvariantViolation) throw new Violation("the emitted tokens are a prefix of the undisturbed run", error.message);
      throw error;
    }
  }

  #deliver(event: GenerateEvent): void {
    if (event.kind === "tokens") {
      for (const { token, index } of event.tokens) {
        if (index !== this.#tokens.length || token !== this.#expected[index]) throw new Violation("the emitted tokens are a prefix of the undisturbed run", `${this.name} got token ${token} at ${index}, after ${this.#tokens.length}; the undisturbed run has ${this.#expected[index]} there`);
        this.#tokens.push(token);
      }
    }
    if (event.kind !== "finished") return;
    this.done = true;
    this.#world.trace(this.#machine, `completes ${this.name}`);
    if (this.#tokens.length !== this.#expected.length) throw new Violation("every answer is completed", `${this.name} ended (${event.reason}) with ${this.progress}`);
  }

  #asSent(request: GenerateRequest): GenerateRequest {
    return this.#bug.resumeForgetsSeed && request.emitted.length > 0 ? { ...request, sampling: { ...request.sampling, seed: 0 } } : request;
  }

  /** A stream to the leader's scheduler and back, in order, until either end says that it is over. */
  #call(attempt: number, request: GenerateRequest): void {
    this.#attempt = attempt;
    const { leader: leaderId } = viewOf(this.#machine);
    const leader = this.#world.machines.find((machine) => machine.id === leaderId);
    const failed = (error: MinidError) => this.#machine.whenRunning(() => this.#input({ kind: "failed", attempt, error }));
    if (!leader?.core) { this.#world.agenda.after(RESET_MS, () => failed(lost("the leader is gone"))); return; }
    const remote = leader.process;
    const there = new Connection(this.#world, this.#machine, leader);
    const back = new Connection(this.#world, leader, this.#machine);
    const sink: Sink = {
      event: (event) => back.carry(() => this.#machine.whenRunning(() => this.#input({ kind: "event", attempt, event }))),
      failed: (error) => back.carry(() => failed(error)),
    };
    there.carry(() => leader.whenRunning(() => { if (leader.process === remote) this.#world.ring(leader).submit(request, sink); }));
    this.#watch(attempt, leader, remote, 0, failed);
  }

  /** Keepalive. */
  #watch(attempt: number, leader: Machine, remote: number, silentMs: number, failed: (error: MinidError) => void): void {
    this.#world.agenda.after(LOOK_MS, () => {
      if (this.done || this.#attempt !== attempt || this.#process !== this.#machine.process) return;
      const { network } = this.#world;
      if (leader.process !== remote && leader.hostUp && network.linked(leader.index, this.#machine.index)) { failed(lost("the connection was reset")); return; }
      const reachable = leader === this.#machine || (leader.running && network.linked(leader.index, this.#machine.index) && network.linked(this.#machine.index, leader.index));
      if (!reachable && silentMs >= KEEPALIVE_MS) { failed(lost("the leader does not answer")); return; }
      this.#watch(attempt, leader, remote, reachable ? 0 : silentMs + LOOK_MS, failed);
    });
  }
}
