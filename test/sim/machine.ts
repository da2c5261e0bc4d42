/**
 * One machine: its disk, its agent (the real `ClusterCore` under a driver in virtual time) and its worker. The driver keeps the rules
 * of `contract.ts`: effects in order, `persisted` only after the write, a tick that comes late when the process stood still.
 */
import { millis, nodeId, type NodeId } from "../../src/core/ids.js";
import { ClusterCore } from "../../src/daemon/cluster/cluster.js";
import { type ClusterConfig, type ClusterEffect, type ClusterInput, type ClusterMachine, type DurableRecord, clusterDefaults } from "../../src/daemon/cluster/contract.js";
import { parseMessage } from "../../src/daemon/cluster/message-schema.js";
import { type ClusterMessage, MESSAGE_BYTES_MAX, PROTOCOL } from "../../src/daemon/cluster/messages.js";
import type { LocalFacts } from "../../src/daemon/membership/facts.js";
import { type ModelShape, plannerDefaults } from "../../src/daemon/planner/plan.js";
import { absentWorker } from "../../src/daemon/supervisor/facts.js";
import type { Bug } from "./bugs.js";
import { Violation } from "./violation.js";
import type { MachineSpec, Scenario } from "./scenario.js";
import { SimWorker } from "./sim-worker.js";
import type { SupervisorActor } from "./supervisor-actor.js";
import type { World } from "./world.js";

const AGENT_PORT = 50050;
const DISK_MS = 3;
const PROBE_MS = 20;
const MEGABYTE = 1e6;
/** Monotonic clocks of different processes have nothing to do with each other. */
const CLOCK_BASE_MS = 1_000_000;
const WALL_BASE_MS = 1_700_000_000_000;

/** In every n-th seed messages are really encoded and decoded; in the others they are handed over as they are, which is faster. */
const WIRE_EVERY = 64;

function overTheWire(message: ClusterMessage): ClusterMessage {
  const json = JSON.stringify(message);
  if (json.length > MESSAGE_BYTES_MAX) throw new Violation("bounded messages", `a ${message.type} of ${json.length} bytes`);
  const arrived = parseMessage(JSON.parse(json));
  if (!arrived) throw new Violation("messages are understood", json.slice(0, 300));
  return arrived;
}

/** More actors of a node (scheduler, front door) plug in here: they see its effects, and end with its process. */
export interface Actor {
  effect?(effect: ClusterEffect): void;
  /** After every input. */
  settled?(): void;
  crashed?(): void;
}

export const clusterConfigOf = ({ use }: Scenario): ClusterConfig => ({ ...clusterDefaults, planner: { ...plannerDefaults, use, slots: 4, batchMax: 2, contextMax: 128, contextMin: 128 } });

export class Machine {
  readonly index: number;
  readonly worker: SimWorker;
  readonly actors: Actor[] = [];
  /** Stands between agent and worker; without one the agent simply sees and asks. */
  supervisor: SupervisorActor | undefined;
  id: NodeId;
  core: ClusterMachine | undefined;
  leftForGood = false;
  /** The machine runs, with or without an agent on it. */
  hostUp = true;
  started = false;
  crashAt: "after_fsync" | "before_fsync" | undefined;
  onCrash: (() => void) | undefined;
  /** Neither started nor stood still since. */
  runningSince = 0;
  diskMs = DISK_MS;
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #spec: MachineSpec;
  readonly #bug: Bug;
  #process = 0;
  #identities = 0;
  #disk: DurableRecord | undefined;
  #recordLost = false;
  #host: string;
  #moves = 0;
  #backlog: (() => void)[] | undefined;
  #skewMs = 0;
  #clockBehindMs = 0;
  #factsDue = false;
  #sends = 0;
  #sendsSince = 0;
  #lastPersistAt = 0;

  constructor(world: World, scenario: Scenario, index: number, bug: Bug) {
    this.#world = world;
    this.#scenario = scenario;
    this.#bug = bug;
    this.index = index;
    this.#spec = scenario.machines[index] as MachineSpec;
    this.id = this.#newId();
    this.#host = `h${index}`;
    this.worker = new SimWorker(world.agenda, `w${index}`, {
      acceptsOlder: bug.workerAcceptsOlder ?? false,
      accepted: (before, after) => world.rules.accepted(this, before, after),
      changed: () => this.#probeSoon(),
    });
    world.network.claim(this.#host, index);
  }

  get up(): boolean { return this.core !== undefined; }
  get running(): boolean { return this.core !== undefined && this.#backlog === undefined; }
  get name(): string { return this.id.slice(0, 2); }
  get disk(): DurableRecord | undefined { return this.#disk; }
  get address(): string { return `${this.#host}:${AGENT_PORT}`; }
  monotonic(): number { return this.#world.agenda.now - this.#clockBehindMs + CLOCK_BASE_MS; }

  boot(): void {
    if (this.core || this.leftForGood) return;
    this.started = true;
    this.hostUp = true;
    this.#process += 1;
    this.#factsDue = false;
    const now = millis(this.monotonic());
    const lost = this.#recordLost;
    this.#recordLost = false;
    const init = {
      identity: { nodeId: this.id, clusterId: "cluster", clusterName: "home", protocol: PROTOCOL }, config: clusterConfigOf(this.#scenario), facts: this.facts(true), model: this.#model(),
      durable: this.#disk, counterFloor: lost ? 200_000_000 + Math.floor(this.#world.agenda.now / 1_000) : 0, now, wallMs: this.#wall(),
    };
    this.runningSince = this.#world.agenda.now;
    this.core = this.#bug.core ? this.#bug.core(init) : new ClusterCore(init);
    this.#world.trace(this, lost ? "starts, its record is lost" : "starts");
    this.supervisor?.start();
    this.#introduce();
    this.input({ kind: "tick", wallMs: this.#wall() });
    this.#tickLater(this.#process);
    this.#probeSoon();
  }

  /** The agent's process ends. */
  crash(): void {
    if (!this.core) return;
    this.#world.trace(this, "crashes");
    this.core = undefined;
    this.#process += 1;
    this.#backlog = undefined;
    this.crashAt = undefined;
    for (const actor of this.actors) actor.crashed?.();
    const then = this.onCrash;
    this.onCrash = undefined;
    then?.();
  }

  pause(): void {
    if (!this.core || this.#backlog) return;
    this.#world.trace(this, "stands still");
    this.#backlog = [];
  }

  /** @param clockStood for how long its monotonic clock did not move. */
  resume(clockStood: number): void {
    const backlog = this.#backlog;
    if (!backlog) return;
    this.#world.trace(this, "goes on");
    this.#clockBehindMs += clockStood;
    this.runningSince = this.#world.agenda.now;
    this.#backlog = undefined;
    this.input({ kind: "tick", wallMs: this.#wall() });
    for (const late of backlog) late();
  }

  jumpClock(byMs: number): void { this.#skewMs += byMs; this.#world.trace(this, `its clock jumps by ${byMs} ms`); }

  loseRecord(): void { this.#disk = undefined; this.#recordLost = true; }
  loseIdentity(): void { this.#disk = undefined; this.id = this.#newId(); this.worker.loseDisk(); }

  move(): void {
    this.#world.network.release(this.#host);
    this.#moves += 1;
    this.#host = `h${this.index}m${this.#moves}`;
    this.#world.network.claim(this.#host, this.index);
    this.#world.trace(this, `moves to ${this.#host}`);
    if (this.core) this.input({ kind: "facts", facts: this.facts(false) });
    // Discovery tells everybody.
    for (const other of this.#world.machines) if (other.running) other.introduced(this);
  }

  introduced(other: Machine): void {
    const { id, address } = other;
    this.#world.network.send(other.index, this.index, () => this.input({ kind: "introduction", address, source: "mdns", nodeId: id, clusterId: "cluster", clusterName: "home" }));
  }

  /** The agent's process does it now, or when it goes on. */
  whenRunning(action: () => void): void {
    if (this.#backlog) this.#backlog.push(action);
    else if (this.core) action();
  }
  get process(): number { return this.#process; }

  /** From the network or from this machine's own devices; waits while the process stands still. */
  input(input: ClusterInput): void {
    if (this.#backlog) { this.#backlog.push(() => this.input(input)); return; }
    if (!this.core) return;
    const process = this.#process;
    for (const effect of this.core.step(input, millis(this.monotonic()))) {
      this.#execute(effect);
      if (process !== this.#process) return;
    }
    for (const actor of this.actors) actor.settled?.();
  }

  #execute(effect: ClusterEffect): void {
    switch (effect.kind) {
      case "send": this.#send(effect.to.addresses, effect.to.nodeId, effect.message); break;
      case "persist": this.#persist(effect.id, effect.record); break;
      case "applyPlan": {
        this.#world.rules.applied(this, effect.plan);
        if (this.supervisor) break;
        // A call on its way arrives even if its caller has died meanwhile, and now and then late: that is what fencing is for.
        const { random, agenda } = this.#world;
        const { plan, rank } = effect;
        if (rank) agenda.after(random.chance(0.05) ? random.between(10, 2_000) : random.between(0.5, 10), () => this.worker.load({ epoch: plan.epoch, planVersion: plan.version, rank: rank.rank, worldSize: plan.ranks.length, layers: rank.layers }, () => undefined));
        break;
      }
      case "becomeLeader": this.#world.rules.leads(this, effect.epoch); break;
      case "stepDown": this.#world.rules.stepsDown(this, effect.epoch, effect.cause); break;
      case "event": this.#world.event(this, effect.event); break;
    }
    for (const actor of this.actors) actor.effect?.(effect);
  }

  #send(addresses: readonly string[], to: NodeId | undefined, message: ClusterMessage): void {
    const { network, agenda, machines, rules } = this.#world;
    if (agenda.now - this.#sendsSince >= 1_000) { this.#sendsSince = agenda.now; this.#sends = 0; }
    this.#sends += 1;
    rules.sent(this, message, this.#sends);
    const index = addresses.map((address) => network.machineAt(address)).find((found) => found !== undefined);
    const target = index === undefined ? undefined : machines[index];
    // The certificate that answers there must be the one that was asked for.
    if (!target || (to !== undefined && target.id !== to)) return;
    const from = this.id;
    if (!target.core && target.hostUp && to !== undefined) {
      network.send(this.index, target.index, () => network.send(target.index, this.index, () => { if (!target.core) this.input({ kind: "refused", nodeId: to, byWorkerToo: target.worker.process === undefined }); }));
      return;
    }
    const arrives = this.#scenario.seed % WIRE_EVERY === 0 ? overTheWire(message) : message;
    network.send(this.index, target.index, () => { if (to === undefined || target.id === to) target.input({ kind: "message", from, message: arrives }); });
  }

  #persist(id: number, record: DurableRecord): void {
    const process = this.#process;
    const crash = this.crashAt;
    const arrives = Math.max(this.#lastPersistAt, this.#world.agenda.now + this.#world.random.between(0.2, this.diskMs));
    this.#lastPersistAt = arrives;
    if (this.#bug.persistedTooEarly) this.#world.agenda.after(0, () => { if (process === this.#process) this.input({ kind: "persisted", id }); });
    this.#world.agenda.at(arrives, () => {
      if (process !== this.#process) return;
      if (crash !== undefined && this.crashAt !== undefined) {
        if (crash === "after_fsync") this.#disk = record;
        this.crash();
        return;
      }
      this.#disk = record;
      if (!this.#bug.persistedTooEarly) this.input({ kind: "persisted", id });
    });
  }

  #tickLater(process: number): void {
    const { agenda, random } = this.#world;
    agenda.after(clusterDefaults.tickIntervalMs + random.between(0, 4), () => {
      if (process !== this.#process) return;
      // A process that stands still has no ticks; it gets one when it goes on.
      if (!this.#backlog) this.input({ kind: "tick", wallMs: this.#wall() });
      this.#tickLater(process);
    });
  }

  /** The agent sees its worker's state with the next probe. */
  #probeSoon(): void {
    if (this.#factsDue || this.supervisor) return;
    this.#factsDue = true;
    const process = this.#process;
    this.#world.agenda.after(this.#world.random.between(1, PROBE_MS), () => {
      if (process !== this.#process) return;
      this.#factsDue = false;
      this.input({ kind: "facts", facts: this.facts(false) });
    });
  }

  #introduce(): void {
    for (const other of this.#world.machines) {
      if (other === this) continue;
      this.introduced(other);
      if (other.running) other.introduced(this);
    }
  }

  #model(): ModelShape {
    const { layerCount, layerBytes } = this.#scenario;
    return { modelId: "model", layerCount, layerBytes: layerBytes * MEGABYTE, embedBytes: 20 * MEGABYTE, headBytes: 20 * MEGABYTE, tied: true, kvBytesPerTokenLayer: 1_000, contextMax: 128 };
  }

  /** @param fresh the agent has just started and has not looked at its worker yet. */
  facts(fresh: boolean): LocalFacts {
    const { cores, budgetBytes, localRank } = this.#spec;
    const worker = this.supervisor ? this.supervisor.facts ?? absentWorker : this.worker.facts();
    return {
      deviceId: `mini${this.index}`, hostname: this.#host, pid: this.#process, addresses: [this.#host], agentPort: AGENT_PORT, workerPort: 50051, httpPort: 8100, software: "1", platform: "sim", engine: "sim",
      cores, memoryBytes: 1_000 * MEGABYTE, budgetBytes: budgetBytes * MEGABYTE, ...(localRank === undefined ? {} : { localRank }),
      // A driver that has just started has not probed yet.
      worker: fresh ? { ...worker, incarnation: "", phase: "absent", healthy: false, crashLooping: false, error: "" } : worker,
    };
  }

  #wall(): number { return Math.round(this.#world.agenda.now + WALL_BASE_MS + this.#skewMs); }

  /** Starts with the machine's letter, so that traces can be read. */
  #newId(): NodeId {
    this.#identities += 1;
    return nodeId(`${String.fromCodePoint(97 + this.index)}${this.#identities}`.padEnd(32, "0"));
  }
}
