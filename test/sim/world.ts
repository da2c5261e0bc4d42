/** One run: machines, network and faults of a scenario in virtual time, under the rules. */
import type { ClusterEvent } from "../../src/daemon/cluster/contract.js";
import { InvariantViolation } from "../../src/core/invariant.js";
import { Agenda } from "./agenda.js";
import { type Bug, noBug } from "./bugs.js";
import { eventText } from "./event-text.js";
import { DoorActor } from "./door-actor.js";
import { Machine } from "./machine.js";
import { Network } from "./network.js";
import { Random } from "./random.js";
import { Rules, viewOf } from "./rules.js";
import { Violation } from "./violation.js";
import { RingActor } from "./ring-actor.js";
import { SupervisorActor } from "./supervisor-actor.js";
import { type Fault, LEAVE_PATIENCE_MS, type Question, type Scenario } from "./scenario.js";

/** The cluster must have come to rest this long after the last fault, */
const SETTLE_MS_MAX = 30_000;
/** or this long, where a worker that crashed over and over is on probation. */
const SETTLE_SUPERVISED_MS_MAX = 90_000;
/** and then stay so for this long. */
const REST_MS = 3_000;
const LOOK_EVERY_MS = 400;
/** Settled means: seen settled this many times in a row; for longer where a machine that is still to be planned in cannot be told from one that is left out. */
const LOOKS = 3;
const LOOKS_LONG = 12;

/** Answers still open when the cluster has come to rest are complete this long after. */
const ANSWER_MS_MAX = 60_000;
const DISCOVERY_MS = 5_000;

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Virtual time from the last fault to rest. */
  readonly settledMs: number;
  readonly virtualMs: number;
  readonly messages: number;
}

export type TraceSink = (line: string) => void;

export class World {
  readonly agenda = new Agenda();
  readonly scenario: Scenario;
  readonly random: Random;
  readonly network: Network;
  readonly machines: readonly Machine[];
  readonly rules: Rules;
  /** Milliseconds of each interruption of an answer. */
  readonly recoveries: number[] = [];
  readonly #rings: readonly RingActor[];
  readonly #doors: readonly DoorActor[];
  readonly #sink: TraceSink | undefined;
  #leaving = 0;
  #runs = 0;

  constructor(scenario: Scenario, bug: Bug = noBug, sink?: TraceSink) {
    this.scenario = scenario;
    this.#sink = sink;
    this.random = new Random(scenario.seed, 2);
    this.network = new Network(this.agenda, this.random, scenario.machines.length, scenario.delayMs);
    this.rules = new Rules(this);
    this.machines = scenario.machines.map((_, index) => new Machine(this, scenario, index, bug));
    this.#rings = scenario.questions.length === 0 ? [] : this.machines.map((machine) => new RingActor(this, machine, scenario.replay, bug));
    for (const [index, ring] of this.#rings.entries()) {
      const machine = this.#machine(index);
      machine.supervisor = new SupervisorActor(this, machine);
      machine.actors.push(machine.supervisor, ring);
    }
    this.#doors = scenario.questions.map((question, index) => this.#ask(question, index, bug));
    for (const [index, { startAt }] of scenario.machines.entries()) this.agenda.at(startAt, () => this.#machine(index).boot());
    for (const fault of scenario.faults) this.agenda.at(fault.at, () => this.#begin(fault));
    this.agenda.at(DISCOVERY_MS, () => this.#discover());
    this.agenda.at(scenario.quietAt, () => this.#scar());
  }

  run(): Outcome {
    let settledMs = -1;
    let violation: Violation | undefined;
    try {
      if (this.scenario.calm) this.#calmBefore();
      this.agenda.runUntil(this.scenario.quietAt);
      // A node that stood still while it was to leave leaves later.
      while (this.#leaving > 0 && this.agenda.now < this.scenario.quietAt + LEAVE_PATIENCE_MS * 4) this.agenda.runUntil(this.agenda.now + LOOK_EVERY_MS);
      settledMs = this.#untilSettled();
      this.rules.frozen ??= this.#state();
      this.#untilAnswered();
      this.agenda.runUntil(this.agenda.now + REST_MS);
      const why = this.rules.unsettled();
      if (why !== undefined) throw new Violation("stays settled", why);
    } catch (error) {
      if (error instanceof Violation) violation = error;
      else if (error instanceof InvariantViolation || error instanceof TypeError || error instanceof RangeError) violation = new Violation("no crash", `${error.message}\n${error.stack ?? ""}`);
      else throw error;
    }
    return { seed: this.scenario.seed, violation, settledMs, virtualMs: this.agenda.now, messages: this.network.delivered };
  }

  trace(machine: Machine | undefined, text: string): void {
    this.#sink?.(`${(this.agenda.now / 1_000).toFixed(3).padStart(8)} ${machine ? machine.name : "--"}  ${text}`);
  }

  event(machine: Machine, event: ClusterEvent): void {
    this.rules.event(machine, event);
    if (!this.#sink) return;
    const text = eventText(event, this);
    if (text !== undefined) this.trace(machine, text);
  }

  #machine(index: number): Machine { return this.machines[index] as Machine; }

  /** A calm run comes to rest before the mild faults begin, and must not notice them. */
  #calmBefore(): void {
    const first = Math.min(...this.scenario.faults.map((fault) => fault.at));
    const lastStart = Math.max(...this.scenario.machines.map((machine) => machine.startAt));
    if (lastStart > first - 4_000) return;
    this.agenda.runUntil(first);
    const why = this.rules.unsettled();
    if (why !== undefined) throw new Violation("settles", `${why}, before any fault`);
    this.rules.frozen = this.#state();
  }

  #untilSettled(): number {
    const from = this.agenda.now;
    let looks = 0;
    let why: string | undefined;
    const within = this.#rings.length > 0 ? SETTLE_SUPERVISED_MS_MAX : SETTLE_MS_MAX;
    while (this.agenda.now - from < within) {
      this.agenda.runUntil(this.agenda.now + LOOK_EVERY_MS);
      why = this.rules.unsettled();
      looks = why === undefined ? looks + 1 : 0;
      if (looks >= (this.scenario.scar.kind === "cut" || this.scenario.scar.kind === "oneway" || this.scenario.use === "fastest" || this.scenario.machines.length > this.scenario.layerCount ? LOOKS_LONG : LOOKS)) return this.agenda.now - from;
    }
    throw new Violation("settles", `${why ?? "it keeps changing"}, ${within / 1_000} s after the last fault`);
  }

  #ask({ at, machine: index, promptLength, maxTokens, seed }: Question, number: number, bug: Bug): DoorActor {
    const machine = this.#machine(index);
    const prompt = Array.from({ length: promptLength }, (_, place) => (seed * 7 + place * 13) % 40);
    const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map<number, number>(), seed };
    const door = new DoorActor(this, machine, { requestId: `answer ${number}`, modelId: "model", prompt, emitted: [], sampling, maxTokens, stopTokens: [39] }, bug);
    this.agenda.at(at, () => { machine.actors.push(door); door.start(); });
    return door;
  }

  /** The scheduler of a machine. */
  ring(machine: Machine): RingActor { return this.#rings[machine.index] as RingActor; }

  /** Of a scheduler's stream. */
  newRunId(): number {
    this.#runs += 1;
    return this.#runs;
  }

  #untilAnswered(): void {
    const open = () => this.#doors.filter((door) => !door.done && door.machine.running && viewOf(door.machine).ready);
    const until = this.agenda.now + ANSWER_MS_MAX;
    while (open().length > 0 && this.agenda.now < until) this.agenda.runUntil(this.agenda.now + LOOK_EVERY_MS);
    const [late] = open();
    if (late) throw new Violation("every answer is completed", `${late.name} at ${late.machine.name} has ${late.progress} ${ANSWER_MS_MAX / 1_000} s after the cluster came to rest`);
  }

  #state(): string {
    const seen = new Set(this.machines.filter((machine) => machine.running).map((machine) => { const { epoch } = viewOf(machine); return epoch ? `${epoch.counter}@${epoch.nodeId.slice(0, 8)}` : "no leader"; }));
    return [...seen].join(", ");
  }

  #begin(fault: Fault): void {
    this.trace(undefined, `fault: ${Object.entries(fault).filter(([key]) => key !== "at").map(([key, value]) => (key === "kind" ? String(value) : `${key} ${String(value)}`)).join(", ")}`);
    const { network, agenda } = this;
    const over = (end: () => void) => { if ("forMs" in fault) agenda.after(fault.forMs, () => { end(); this.trace(undefined, `over: ${fault.kind}`); }); };
    const among = (list: number[], value: number) => { list.push(value); over(() => { network.touch(); list.splice(list.indexOf(value), 1); }); };
    switch (fault.kind) {
      case "partition": network.split(fault.side, 1); over(() => network.split(fault.side, -1)); return;
      case "oneway": network.block(fault.from, fault.to, 1); over(() => network.block(fault.from, fault.to, -1)); return;
      case "cut": this.#cut(fault.a, fault.b, 1); over(() => this.#cut(fault.a, fault.b, -1)); return;
      case "loss": among(network.loss, fault.share); return;
      case "delay": among(network.delays, fault.upToMs); return;
      case "duplicate": among(network.duplicates, fault.share); return;
      case "pause": this.#machine(fault.machine).pause(); over(() => this.#machine(fault.machine).resume(fault.clockStops ? fault.forMs : 0)); return;
      case "clock": this.#machine(fault.machine).jumpClock(fault.byMs); return;
      case "crash": this.#crash(fault); return;
      case "worker": this.#worker(fault, over); return;
      case "slow_disk": {
        const machine = this.#machine(fault.machine);
        const before = machine.diskMs;
        machine.diskMs = fault.upToMs;
        over(() => { machine.diskMs = before; });
        return;
      }
      case "leave": this.#leave(fault); return;
      case "readdress": this.#machine(fault.machine).move(); return;
    }
  }

  /** What discovery does now and then: everybody hears of whoever it can reach. */
  #discover(): void {
    for (const machine of this.machines) for (const other of this.machines) if (machine !== other && machine.running && other.running) other.introduced(machine);
    this.agenda.after(DISCOVERY_MS, () => this.#discover());
  }

  #cut(a: number, b: number, by: 1 | -1): void {
    this.network.block(a, b, by);
    this.network.block(b, a, by);
  }

  #crash(fault: Extract<Fault, { kind: "crash" }>): void {
    const machine = this.#machine(fault.machine);
    const backAt = fault.at + fault.downMs;
    const down = () => {
      if (fault.scope === "machine") {
        machine.hostUp = false;
        machine.worker.stop(); 
        this.agenda.at(backAt, () => machine.worker.start());
      }
      if (fault.lost === "record") machine.loseRecord();
      if (fault.lost === "identity") machine.loseIdentity();
      this.agenda.at(backAt, () => machine.boot());
    };
    if (!machine.up) return;
    machine.onCrash = down;
    if (fault.when === "now") machine.crash();
    else {
      machine.crashAt = fault.when;
      // Nothing was written in time: then it just goes on.
      this.agenda.at(backAt, () => { if (machine.crashAt !== undefined) { machine.crashAt = undefined; machine.onCrash = undefined; } });
    }
  }

  #worker(fault: Extract<Fault, { kind: "worker" }>, over: (end: () => void) => void): void {
    const { worker } = this.#machine(fault.machine);
    switch (fault.what) {
      case "crash": worker.crash(); return;
      case "unhealthy": worker.hang(true); over(() => worker.hang(false)); return;
      case "crash_loop":
        if (this.#machine(fault.machine).supervisor) worker.crashUntil(this.agenda.now + fault.forMs);
        else { worker.loop(true); over(() => worker.loop(false)); }
        return;
      case "load_fails": worker.failLoads(true); over(() => worker.failLoads(false)); return;
    }
  }

  #leave(fault: Extract<Fault, { kind: "leave" }>): void {
    const machine = this.#machine(fault.machine);
    if (!machine.running) return;
    machine.input({ kind: "drain", draining: true });
    const from = this.agenda.now;
    const go = () => {
      if (!machine.up) { this.#leaving -= 1; return; }
      if (!machine.running) { this.agenda.after(LOOK_EVERY_MS, go); return; }
      if (!viewOf(machine).drained && this.agenda.now - from < LEAVE_PATIENCE_MS) { this.agenda.after(LOOK_EVERY_MS, go); return; }
      machine.input({ kind: "leave" });
      machine.leftForGood = !Number.isFinite(fault.downMs);
      machine.onCrash = undefined;
      machine.crash();
      machine.worker.stop();
      if (machine.leftForGood) this.#leaving -= 1;
      else this.agenda.after(fault.downMs, () => { this.#leaving -= 1; machine.worker.start(); machine.boot(); });
    };
    this.#leaving += 1;
    go();
  }

  #scar(): void {
    const { scar } = this.scenario;
    if (scar.kind !== "none") this.trace(undefined, `for good: ${JSON.stringify(scar)}`);
    if (scar.kind === "partition") this.network.split(scar.side, 1);
    if (scar.kind === "cut") this.#cut(scar.a, scar.b, 1);
    if (scar.kind === "oneway") this.network.block(scar.a, scar.b, 1);
  }
}
