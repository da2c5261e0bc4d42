/** The supervisor joins the simulation: the real policy between a node's agent and its simulated worker, under a driver in virtual time. */
import { millis } from "../../src/core/ids.js";
import type { LoadRequest } from "../../src/core/worker-protocol.js";
import type { ClusterEffect } from "../../src/daemon/cluster/contract.js";
import type { WorkerFacts } from "../../src/daemon/membership/facts.js";
import { initialState, step } from "../../src/daemon/supervisor/policy.js";
import { loadRequestOf } from "../../src/daemon/supervisor/stage.js";
import type { SupervisorEffect, SupervisorInput, SupervisorState } from "../../src/daemon/supervisor/types.js";
import type { Actor, Machine } from "./machine.js";
import type { World } from "./world.js";

const TICK_MS = 100;
const PROBE_INTERVAL_MS = 500;
const ANSWER_MS = 2;

export class SupervisorActor implements Actor {
  readonly #world: World;
  readonly #machine: Machine;
  #state: SupervisorState | undefined;
  #process = 0;

  constructor(world: World, machine: Machine) {
    this.#world = world;
    this.#machine = machine;
  }

  /** What the cluster is told of the worker; undefined before the first look. */
  get facts(): WorkerFacts | undefined { return this.#state?.reported; }

  /** With the agent's process. */
  start(): void {
    this.#process = this.#machine.process;
    this.#state = initialState(millis(this.#machine.monotonic()));
    this.#tick(this.#process);
  }

  effect(effect: ClusterEffect): void {
    if (effect.kind !== "applyPlan") return;
    const { plan, rank } = effect;
    const request = rank ? loadRequestOf(plan, rank, { modelDir: "model", engine: "sim", numerics: "fast", threads: 0 }) : undefined;
    this.#input({ kind: "assigned", request });
  }

  crashed(): void { this.#state = undefined; }

  #tick(process: number): void {
    if (process !== this.#machine.process || !this.#state) return;
    this.#machine.whenRunning(() => this.#input({ kind: "tick" }));
    this.#world.agenda.after(TICK_MS, () => this.#tick(process));
  }

  #input(input: SupervisorInput): void {
    if (!this.#state) return;
    const { state, effects } = step(this.#state, input, millis(this.#machine.monotonic()), { probeIntervalMs: PROBE_INTERVAL_MS });
    this.#state = state;
    for (const effect of effects) this.#execute(effect);
  }

  /** An answer from outside, for this life of the agent. */
  #later(ms: number, input: () => SupervisorInput): void {
    const process = this.#process;
    this.#world.agenda.after(ms, () => { if (process === this.#machine.process) this.#machine.whenRunning(() => this.#input(input())); });
  }

  #execute(effect: SupervisorEffect): void {
    const { worker } = this.#machine;
    switch (effect.kind) {
      case "probe": {
        const { id, timeoutMs } = effect;
        const reply = worker.reply();
        if (reply) this.#later(ANSWER_MS, () => ({ kind: "probed", id, reply, tookMs: ANSWER_MS, process: worker.process }));
        else this.#later(worker.process ? timeoutMs : ANSWER_MS, () => ({ kind: "probeFailed", id, error: "no answer", lagMs: 0, process: worker.process }));
        return;
      }
      case "load": this.#load(effect.id, effect.request); return;
      case "kill":
        this.#world.trace(this.#machine, `kills its worker: ${effect.text}`);
        if (worker.process?.incarnation === effect.process.incarnation) worker.crash();
        return;
      case "report": this.#machine.input({ kind: "facts", facts: this.#machine.facts(false) }); return;
      case "cancelLoad": case "event": return;
    }
  }

  /** A call on its way arrives even if its caller has died meanwhile, and now and then late: that is what fencing is for. */
  #load(id: number, { epoch, planVersion, rank, worldSize, layerFirst, layerEnd }: LoadRequest): void {
    const { random, agenda } = this.#world;
    const { worker } = this.#machine;
    const caller = worker.process?.incarnation;
    agenda.after(random.chance(0.05) ? random.between(10, 2_000) : random.between(0.5, 10), () => {
      if (worker.process?.incarnation !== caller) { this.#later(0, () => ({ kind: "loadEnded", id, outcome: { kind: "lost" } })); return; }
      worker.load({ epoch, planVersion, rank, worldSize, layers: { first: layerFirst, end: layerEnd } }, (outcome) => this.#later(0, () => ({ kind: "loadEnded", id, outcome })));
    });
  }
}
