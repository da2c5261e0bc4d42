/**
 * What must always hold, checked as it happens, and what must hold soon after the faults have stopped. A broken rule ends the run.
 *  - At most one leader per epoch, ever; a term is on its node's disk before anyone hears of it.
 *  - A worker's accepted epoch never falls.
 *  - A plan's ranges cover the model exactly once, under its leader's term, within everybody's memory.
 *  - Once quiet, within a bound: per connected component exactly one leader whom all follow, and one plan that is ready. And then
 *    nothing changes any more.
 *  - Under loss up to 20 % and moderate delay leadership does not change at all.
 *  - No node sends more messages a second than the size of the cluster allows.
 */
import { type Epoch, type NodeId, compareEpochs, epochText, millis, sameEpoch } from "../../src/core/ids.js";
import type { ClusterEvent, ClusterView } from "../../src/daemon/cluster/contract.js";
import type { ClusterMessage } from "../../src/daemon/cluster/messages.js";
import type { LeaderChangeCause } from "../../src/daemon/election/cause.js";
import { deviceOf } from "../../src/daemon/cluster/planning.js";
import type { Plan, PlannerOptions, Ring } from "../../src/daemon/planner/plan.js";
import { planRing, sameRing } from "../../src/daemon/planner/planner.js";
import { type Machine, clusterConfigOf } from "./machine.js";
import { Violation } from "./violation.js";
import type { World } from "./world.js";

/** Per other node: heartbeats, those out of turn, probes, asking helpers, helping, plans. */
const SENDS_PER_PEER = 40;
const SENDS_BASE = 20;

/** Longer than it takes to notice, and to forget, that a node or the network was in trouble. */
const UNDISTURBED_MS = 10_000;

export class Rules {
  readonly #world: World;
  readonly #leaders = new Map<string, string>();
  readonly #followed = new Map<Machine, Epoch | undefined>();
  /** Set once the cluster must not change any more. */
  frozen: string | undefined;

  constructor(world: World) { this.#world = world; }

  leads(machine: Machine, epoch: Epoch): void {
    const key = `${epoch.counter}@${epoch.nodeId}`;
    const other = this.#leaders.get(key);
    if (other !== undefined) throw new Violation("one leader per epoch", `${machine.name} leads ${epochText(epoch)}, which ${other} led before`);
    this.#leaders.set(key, machine.name);
    this.#world.trace(machine, `LEADS ${epochText(epoch)}`);
    this.#unchanged(machine, `leads ${epochText(epoch)}`);
  }

  /** Nobody replaces a leader for being dead that has been there all the time. */
  event(machine: Machine, event: ClusterEvent): void {
    if (event.kind !== "leader_changed") return;
    const before = this.#followed.get(machine);
    this.#followed.set(machine, event.epoch);
    if (event.cause !== "leader_dead" || event.epoch !== undefined || !before) return;
    const { now } = this.#world.agenda;
    const leader = this.#world.machines.find((other) => other.id === before.nodeId);
    if (!leader?.running || now - leader.runningSince < UNDISTURBED_MS || now - this.#world.network.troubledAt < UNDISTURBED_MS) return;
    const { epoch, role } = viewOf(leader);
    if (role === "leader" && epoch && sameEpoch(epoch, before)) throw new Violation("no change without cause", `${machine.name} holds ${leader.name} for dead, which has led ${epochText(before)} undisturbed`);
  }

  stepsDown(machine: Machine, epoch: Epoch, cause: LeaderChangeCause): void {
    this.#world.trace(machine, `steps down from ${epochText(epoch)}: ${cause}`);
    this.#unchanged(machine, `steps down: ${cause}`);
  }

  accepted(machine: Machine, before: Epoch, after: Epoch): void {
    if (compareEpochs(after, before) < 0) throw new Violation("accepted epochs never fall", `worker of ${machine.name} went from ${epochText(before)} to ${epochText(after)}`);
  }

  sent(machine: Machine, message: ClusterMessage, inThisSecond: number): void {
    if (inThisSecond > SENDS_BASE + SENDS_PER_PEER * (this.#world.machines.length - 1)) throw new Violation("bounded messages", `${machine.name} sent ${inThisSecond} messages within a second`);
    if (!("leads" in message) || !message.leads) return;
    const stored = machine.disk?.epoch;
    if (!stored || compareEpochs(stored, message.leads) < 0) throw new Violation("persist, then send", `${machine.name} claims ${epochText(message.leads)} while its disk says ${stored ? epochText(stored) : "nothing"}`);
  }

  applied(machine: Machine, plan: Plan): void {
    let next = 0;
    for (const [index, rank] of plan.ranks.entries()) {
      if (rank.rank !== index || rank.layers.first !== next || rank.layers.end <= rank.layers.first) throw new Violation("a plan covers the model once", describe(plan));
      next = rank.layers.end;
    }
    if (next !== plan.model.layerCount) throw new Violation("a plan covers the model once", describe(plan));
    if (plan.ranks[0]?.nodeId !== plan.epoch.nodeId) throw new Violation("rank 0 is the leader", describe(plan));
    if (new Set(plan.ranks.map((rank) => rank.nodeId)).size !== plan.ranks.length) throw new Violation("a machine holds one stage", describe(plan));
    for (const rank of plan.ranks) {
      const spec = this.#world.machines.find((other) => other.id === rank.nodeId) && this.#world.scenario.machines[rank.nodeId.codePointAt(0)! - 97];
      if (spec && rank.weightBytes + plan.contextMax * (rank.layers.end - rank.layers.first) * plan.model.kvBytesPerTokenLayer > spec.budgetBytes * 1e6) throw new Violation("a plan fits in memory", describe(plan));
    }
    if (this.frozen !== undefined) this.#unchanged(machine, `applies ${describe(plan)}`);
  }

  /** @returns why the cluster has not come to rest; undefined when it has. */
  unsettled(): string | undefined {
    for (const component of components(this.#world)) {
      const why = this.#unsettledIn(component);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  #unsettledIn(component: readonly Machine[]): string | undefined {
    const views = component.map((machine) => ({ machine, view: viewOf(machine) }));
    const leaders = views.filter(({ view }) => view.role === "leader");
    const names = component.map((machine) => machine.name).join(" ");
    if (leaders.length !== 1) return `${leaders.length} leaders among ${names}`;
    const { machine: leader, view: leading } = leaders[0] as (typeof leaders)[number];
    for (const { machine, view } of views) {
      if (!view.epoch || !leading.epoch || !sameEpoch(view.epoch, leading.epoch)) return `${machine.name} follows ${view.epoch ? epochText(view.epoch) : "nobody"}, not ${leader.name}`;
      for (const other of component) if (view.members.find((member) => member.nodeId === other.id)?.state !== "alive") return `${machine.name} does not see that ${other.name} is alive`;
      const ghost = view.members.find((member) => (member.state === "alive" || member.state === "suspect") && !component.some((other) => other.id === member.nodeId));
      if (ghost) return `${machine.name} still holds ${ghost.nodeId.slice(0, 2)} for ${ghost.state}`;
    }
    const fits = leading.plan !== undefined;
    for (const { machine, view } of views) {
      if (!fits) {
        if (this.#couldFit(component, leader)) return `${leader.name} has no plan though the model fits: ${leading.notReady.join("; ")}`;
        if (!view.conditions.some((condition) => condition.code === "model_does_not_fit")) return `${machine.name} does not say that the model does not fit: ${view.notReady.join("; ")}`;
        continue;
      }
      if (view.plan?.version !== leading.plan?.version) return `${machine.name} has plan ${view.plan?.version}, ${leader.name} has plan ${leading.plan?.version}`;
      // A node that cannot reach the leader itself says so, and serves nobody.
      if (machine !== leader && !this.#bothWays(machine.index, leader.index)) {
        if (view.ready) return `${machine.name} cannot reach ${leader.name}, and does not say so`;
        continue;
      }
      if (!view.ready) return `${machine.name} is not ready: ${view.notReady.join("; ")}`;
    }
    const plan = leading.plan;
    if (plan) {
      const foreign = plan.ranks.find((rank) => !component.some((machine) => machine.id === rank.nodeId));
      if (foreign) return `plan ${plan.version} gives a stage to ${foreign.deviceId}, which is not there`;
      const broken = plan.ranks.find((rank, index) => { const next = plan.ranks[(index + 1) % plan.ranks.length]; return next && next !== rank && !this.#bothWays(machineOf(component, rank.nodeId), machineOf(component, next.nodeId)); });
      if (broken) return `the ring of plan ${plan.version} uses a broken link after ${broken.deviceId}`;
      const whole = component.every((a) => component.every((b) => a === b || this.#world.network.linked(a.index, b.index)));
      const able = views.filter(({ view }) => !view.draining).length;
      if (this.#world.scenario.use === "all" && whole && plan.ranks.length < Math.min(able, plan.model.layerCount) && this.#allHaveRoom(component)) return `plan ${plan.version} uses ${plan.ranks.length} of ${component.length} machines`;
      const ring = ringOfEverybody(leading, plan, clusterConfigOf(this.#world.scenario).planner);
      if (ring && !sameRing(ring, plan)) return `plan ${plan.version} is not final: ${leader.name} will plan for ${ring.ranks.map((rank) => rank.deviceId).join(", ")} once all of them have settled`;
    }
    return undefined;
  }

  #bothWays(a: number, b: number): boolean { return this.#world.network.linked(a, b) && this.#world.network.linked(b, a); }

  #allHaveRoom(component: readonly Machine[]): boolean {
    const { machines, layerBytes } = this.#world.scenario;
    return component.every((machine) => (machines[machine.index]?.budgetBytes ?? 0) * 0.9 >= 20 + layerBytes + 1);
  }

  /** Rough: with room to spare for rounding layers to machines. */
  #couldFit(component: readonly Machine[], leader: Machine): boolean {
    const { machines, layerBytes, layerCount } = this.#world.scenario;
    const whole = component.every((a) => component.every((b) => a === b || this.#world.network.linked(a.index, b.index)));
    const layers = component.reduce((sum, machine) => sum + Math.floor(((machines[machine.index]?.budgetBytes ?? 0) * 0.9 - (machine === leader ? 20 : 0)) / (layerBytes + 0.128)), 0);
    return whole && layers >= layerCount;
  }

  #unchanged(machine: Machine, what: string): void {
    if (this.frozen !== undefined) throw new Violation("no change without cause", `${machine.name} ${what}, after the cluster had come to rest as ${this.frozen}`);
  }
}

export function viewOf(machine: Machine): ClusterView {
  const core = machine.core;
  if (!core) throw new Error(`${machine.name} is not running`);
  return core.view(millis(machine.monotonic()));
}

/** What the leader would plan with everybody that it knows: newcomers have settled, and workers that crashed over and over are trusted again. */
function ringOfEverybody({ members }: ClusterView, plan: Plan, options: PlannerOptions): Ring | undefined {
  const able = members.filter(({ state, self, facts }) => facts && !facts.draining && (self || state === "alive" || state === "suspect"));
  const devices = able.flatMap(({ nodeId, facts }) => (facts ? [deviceOf(nodeId, facts)] : []));
  const result = planRing(plan.model, devices, options, new Map(plan.ranks.map((rank) => [rank.nodeId, rank.layers])));
  return result.fits ? result.ring : undefined;
}

const machineOf = (component: readonly Machine[], id: NodeId): number => component.find((machine) => machine.id === id)?.index ?? 0;

export const describe = (plan: Plan): string => `plan ${plan.version} of ${epochText(plan.epoch)}: ${plan.ranks.map((rank) => `${rank.nodeId.slice(0, 2)} ${rank.layers.first}-${rank.layers.end - 1}`).join(", ")}`;

/** Running machines that can reach each other both ways, directly or through others. */
export function components(world: World): readonly (readonly Machine[])[] {
  const left = new Set(world.machines.filter((machine) => machine.running));
  const found: Machine[][] = [];
  for (const first of left) {
    left.delete(first);
    const component = [first];
    for (const machine of component) {
      for (const other of left) {
        if (!world.network.linked(machine.index, other.index) || !world.network.linked(other.index, machine.index)) continue;
        left.delete(other);
        component.push(other);
      }
    }
    found.push(component);
  }
  return found;
}
