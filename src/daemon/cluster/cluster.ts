/**
 * The cluster as one node sees it: membership, election and planning put together behind `step(input, now) → effects`. No clock, no
 * timer, no network, no disk, no randomness: a driver executes the effects and decides nothing, so that all of it runs in the simulation.
 *
 * Invariants:
 *  - Nothing is sent before this life's incarnation is on disk, and no term is claimed before its epoch is.
 *  - A plan is in force only under the term in force; a lower epoch's plan is forgotten with its term.
 *  - The same inputs at the same times give the same effects.
 */
import { type Epoch, type Millis, type NodeId, epochText, sameEpoch } from "../../core/ids.js";
import { unreachable } from "../../core/invariant.js";
import type { LeaderChangeCause } from "../election/cause.js";
import { Election, type ElectionAction, type ElectionConfig, type Electorate } from "../election/election.js";
import type { NodeFacts } from "../membership/facts.js";
import { type Member, adoptProtocol, isLive } from "../membership/member.js";
import { Membership } from "../membership/membership.js";
import { SelfDoubt } from "../membership/self-doubt.js";
import type { ModelShape, Plan } from "../planner/plan.js";
import { AddressBook } from "./address-book.js";
import type { ClusterConfig, ClusterEffect, ClusterEvent, ClusterIdentity, ClusterInit, ClusterInput, ClusterMachine, ClusterView } from "./contract.js";
import { Durable } from "./durable.js";
import { Foreigners } from "./foreigners.js";
import { LocalStage } from "./local-stage.js";
import { type ClusterMessage, type Heartbeat, MEMBERS_MAX, type ProbeReport } from "./messages.js";
import { Outbox, type Standing, addressed, rowOf } from "./outbox.js";
import { OwnFacts } from "./own-facts.js";
import { LOAD_FAILING_MS, Planning } from "./planning.js";
import { type FactsOf, isReady, missing } from "./readiness.js";
import { buildView } from "./view.js";

/** Others asked to reach a member that we do not hear. */
const HELPERS_MAX = 3;
/** A member is greeted or handed a plan out of turn at most this often. */
const GREET_GAP_MS = 100;
const PLAN_GAP_MS = 400;
/** Who is not the leader passes a plan on only after the leader has had its chance. */
const PLAN_RELAY_AFTER_MS = 1_000;
/** Introductions for the next start are written at most this often. */
const PEERS_GAP_MS = 5_000;
/** A node that was only heard of is dropped after this long without a word. */
const INTRODUCED_FORGET_MS = 60_000;

/** What the core is made of; the simulation plants known bugs by replacing one. */
export interface ClusterParts {
  readonly membership: (selfId: NodeId, config: ClusterConfig) => Membership;
  readonly election: (selfId: NodeId, config: ElectionConfig, highest: Epoch, now: number) => Election;
  readonly doubt: (config: ClusterConfig, now: number, wallMs: number) => SelfDoubt;
  readonly planning: (config: ClusterConfig) => Planning;
}

export const clusterParts: ClusterParts = {
  membership: (selfId, config) => new Membership(selfId, config),
  election: (selfId, config, highest, now) => new Election(selfId, config, highest, now),
  doubt: (config, now, wallMs) => new SelfDoubt(config, now, wallMs),
  planning: (config) => new Planning(config),
};

export class ClusterCore implements ClusterMachine {
  readonly #identity: ClusterIdentity;
  readonly #config: ClusterConfig;
  readonly #membership: Membership;
  readonly #election: Election;
  readonly #doubt: SelfDoubt;
  readonly #facts: OwnFacts;
  readonly #book = new AddressBook();
  readonly #foreigners = new Foreigners();
  readonly #durable: Durable;
  readonly #outbox: Outbox;
  readonly #planning: Planning;
  readonly #stage = new LocalStage();
  readonly #factsOf: FactsOf;
  #effects: ClusterEffect[] = [];
  #model: ModelShape | undefined;
  /** Known at start from the last run: when all are here, there is nothing to listen for. */
  readonly #expected: readonly NodeId[];
  /** Newest plan known, of whatever term: layers stay where it put them. */
  #latest: Plan | undefined;
  #latestAt = 0;
  /** The plan that its leader has taken back: the model does not fit any more. */
  #revoked: Plan | undefined;
  #planVersion: number;
  #leaderSince = 0;
  #readyAs: Plan | undefined;
  #wallOffsetMs: number;
  #awaited: { readonly id: number; readonly epoch: Epoch | undefined } | undefined;
  #mute = true;
  #over = false;
  /** Something that the election depends on has changed. */
  #stirred = true;
  #peersAt = -Infinity;
  #peersKey = "";
  #failingSince: number | undefined;

  constructor(init: ClusterInit, parts: ClusterParts = clusterParts) {
    const { identity, config, facts, durable, counterFloor, now } = init;
    this.#identity = identity;
    this.#config = config;
    this.#model = init.model;
    this.#wallOffsetMs = init.wallMs - now;
    this.#membership = parts.membership(identity.nodeId, config);
    this.#doubt = parts.doubt(config, now, init.wallMs);
    this.#facts = new OwnFacts(facts, identity.protocol);
    this.#durable = new Durable(durable, counterFloor);
    this.#outbox = new Outbox(identity, config, this.#book, this.#durable.record.incarnation);
    this.#planning = parts.planning(config);
    this.#planVersion = this.#durable.record.planVersion;
    const { heartbeatIntervalMs, listenMs } = config;
    this.#election = parts.election(identity.nodeId, { listenMs, staggerMs: 3 * heartbeatIntervalMs, fencedAfterMs: 2 * heartbeatIntervalMs }, this.#durable.record.epoch, now);
    this.#expected = this.#durable.record.peers.map((peer) => peer.nodeId);
    for (const peer of this.#durable.record.peers) for (const address of peer.addresses) this.#book.introduce(address, peer.nodeId, false, now);
    this.#factsOf = (id) => {
      if (id === identity.nodeId) return { facts: this.#facts.current, live: true };
      const member = this.#membership.find(id);
      return member && { facts: member.facts, live: isLive(member) };
    };
  }

  step(input: ClusterInput, now: Millis): readonly ClusterEffect[] {
    this.#effects = [];
    if (this.#over) return this.#effects;
    this.#take(input, now);
    this.#settle(now);
    return this.#effects;
  }

  view(now: Millis): ClusterView {
    const term = this.#election.term;
    const plan = this.#plan;
    return buildView({
      identity: this.#identity, incarnation: this.#outbox.incarnation, config: this.#config, facts: this.#facts.current, members: this.#membership.members,
      destination: (member) => this.#outbox.destination(member), term, standing: this.#election.standing, plan,
      planless: term && this.#factsOf(term.nodeId)?.facts?.planless?.why,
      missing: plan ? missing(plan, this.#factsOf) : [], doubt: this.#doubt.level, foreign: this.#foreigners.seen(now), now,
    });
  }

  /** The plan in force. */
  get #plan(): Plan | undefined {
    const term = this.#election.term;
    return term && this.#latest && this.#latest !== this.#revoked && sameEpoch(this.#latest.epoch, term) ? this.#latest : undefined;
  }

  #take(input: ClusterInput, now: number): void {
    switch (input.kind) {
      case "tick": this.#tick(now, input.wallMs); return;
      case "message": this.#receive(input.from, input.message, now); return;
      case "introduction": {
        const { address, nodeId, clusterId, clusterName, source } = input;
        if (nodeId === this.#identity.nodeId) return;
        if (clusterId !== undefined && clusterId !== this.#identity.clusterId) { if (clusterName === this.#identity.clusterName) this.#foreigners.note(clusterId, address, now); return; }
        this.#book.introduce(address, nodeId, source === "config", now);
        return;
      }
      case "persisted": this.#persisted(input.id, now); return;
      case "facts": this.#factsChanged(this.#facts.report(input.facts)); return;
      case "model": this.#model = input.model; this.#planning.touch(); return;
      case "drain": this.#factsChanged(this.#facts.drain(input.draining)); return;
      case "leave": this.#leave(now); return;
      case "forget": this.#forget(input.nodeId, now); return;
      default: unreachable(input);
    }
  }

  // --- time

  #tick(now: number, wallMs: number): void {
    this.#wallOffsetMs = wallMs - now;
    const { slipMs, slept, clockJumpMs } = this.#doubt.tick(now, wallMs);
    if (clockJumpMs !== 0) this.#event({ kind: "clock_jumped", byMs: Math.round(clockJumpMs) });
    if (slept || clockJumpMs > this.#config.sleepAfterMs) this.#membership.reset(now);
    else if (slipMs > this.#config.tickIntervalMs) this.#membership.forgive(slipMs, now);
    if (slept) {
      this.#event({ kind: "slept", forMs: Math.round(slipMs) });
      this.#carryOut(this.#election.abdicate("slept", now), now);
    }
    this.#membership.tick(now, this.#doubt.level);
    const { suspectAfterMs, deadAfterMs } = this.#config;
    this.#factsChanged(this.#facts.links(this.#membership.members, now, deadAfterMs, suspectAfterMs));
    this.#stirred = true;
    if (this.#election.leads) this.#stepAside(now);
    this.#inquire(now);
    this.#dial(now);
    this.#rememberPeers(now);
    for (const member of this.#membership.members) {
      if (member.state === "introduced" && now - Math.max(member.since, member.evidenceAt) > INTRODUCED_FORGET_MS) this.#membership.remove(member.id);
    }
  }

  /** Long enough without proof of life, or without a direct word: ask now, directly and through others. */
  #inquire(now: number): void {
    if (this.#mute) return;
    const askAfterMs = 3 * this.#config.heartbeatIntervalMs;
    for (const member of this.#membership.members) {
      if (!isLive(member)) continue;
      const unsure = now - member.sureAt > askAfterMs;
      if (!unsure && now - member.directAt <= askAfterMs) continue;
      this.#outbox.send(member, { type: "probe", ...this.#outbox.envelope(now), origin: this.#identity.nodeId }, this.#effects);
      if (!unsure) continue;
      let helpers = 0;
      for (const helper of this.#membership.members) {
        if (helper === member || helper.state !== "alive" || now - helper.directAt > askAfterMs || helpers === HELPERS_MAX) continue;
        helpers += 1;
        this.#outbox.send(helper, { type: "probe-request", ...this.#outbox.envelope(now), target: member.id }, this.#effects);
      }
    }
  }

  #dial(now: number): void {
    if (this.#mute) return;
    const own = this.#facts.current;
    const reached = (nodeId: NodeId | undefined, address: string) => {
      if (own.addresses.some((host) => address === `${host}:${own.agentPort}`)) return true;
      if (nodeId !== undefined) return this.#durable.record.forgotten.includes(nodeId) || this.#membership.find(nodeId)?.state === "alive";
      return this.#membership.members.some((member) => member.state === "alive" && this.#outbox.destination(member).addresses.includes(address));
    };
    for (const { address, nodeId } of this.#book.due(reached, now)) {
      const message = { ...this.#outbox.heartbeat(this.#membership.members, this.#standing(now), now), facts: own };
      this.#effects.push({ kind: "send", to: { ...(nodeId === undefined ? {} : { nodeId }), addresses: [address] }, message });
    }
  }

  /** Rank 0 cannot be planned around: if it cannot load its own stage, another must lead. */
  #stepAside(now: number): void {
    if (this.#facts.current.worker.phase !== "failed") { this.#failingSince = undefined; return; }
    this.#failingSince ??= now;
    if (now - this.#failingSince >= LOAD_FAILING_MS) this.#factsChanged(this.#facts.aside(true));
  }

  #rememberPeers(now: number): void {
    if (now - this.#peersAt < PEERS_GAP_MS) return;
    this.#peersAt = now;
    const peers = this.#membership.members.flatMap((member) => {
      const { addresses } = this.#outbox.destination(member);
      return member.facts && addresses.length > 0 ? [{ nodeId: member.id, deviceId: member.facts.deviceId, addresses }] : [];
    });
    const key = JSON.stringify(peers);
    // Nobody met yet says nothing about whom we knew.
    if (key === this.#peersKey || peers.length === 0) return;
    this.#peersKey = key;
    this.#durable.peers([...peers, ...this.#durable.record.peers.filter((old) => !peers.some((peer) => peer.nodeId === old.nodeId))]);
  }

  // --- messages

  #receive(from: NodeId, message: ClusterMessage, now: number): void {
    if (from === this.#identity.nodeId) return;
    if (message.clusterId !== this.#identity.clusterId) {
      if (message.clusterName === this.#identity.clusterName) this.#foreigners.note(message.clusterId, "", now);
      return;
    }
    if (this.#durable.record.forgotten.includes(from)) return;
    if (!this.#membership.find(from) && this.#membership.members.length >= MEMBERS_MAX - 1) return;
    const member = this.#membership.introduce(from, now);
    const wasLive = isLive(member);
    const known = member.incarnation;
    if (!this.#membership.heard(member, message.incarnation, message.seq, now)) return;
    adoptProtocol(member, message.protocol, this.#identity.protocol);
    this.#content(member, message, now);
    if (wasLive !== isLive(member)) this.#stirred = true;
    // Whoever is new, or back, should not have to wait for the next round.
    if ((member.incarnation !== known || !isLive(member)) && now - member.greetedAt >= GREET_GAP_MS) this.#greet(member, now);
  }

  #content(member: Member, message: ClusterMessage, now: number): void {
    switch (message.type) {
      case "heartbeat": this.#heartbeat(member, message, now); return;
      case "plan":
        if (message.plan.epoch.nodeId === member.id && message.seq >= member.seq) this.#claims(member, message.plan.epoch);
        this.#adoptPlan(message.plan, now);
        return;
      case "probe":
        if (this.#mute) return;
        this.#outbox.send(member, { type: "probe-ack", ...this.#outbox.envelope(now), origin: message.origin, echoIncarnation: message.incarnation, echo: message.seq, ...this.#claim() }, this.#effects);
        return;
      case "probe-ack": {
        if (message.seq >= member.seq) this.#claims(member, message.leads);
        const sentAt = message.echoIncarnation === this.#outbox.incarnation ? this.#outbox.sentAt(message.echo) : undefined;
        if (sentAt !== undefined) this.#membership.proven(member, sentAt, now);
        const origin = message.origin === this.#identity.nodeId ? undefined : this.#membership.find(message.origin);
        if (origin) this.#outbox.send(origin, { type: "probe-report", ...this.#outbox.envelope(now), row: rowOf(member, now) }, this.#effects);
        return;
      }
      case "probe-request": {
        const target = this.#membership.find(message.target);
        if (target && !this.#mute) this.#outbox.send(target, { type: "probe", ...this.#outbox.envelope(now), origin: member.id }, this.#effects);
        return;
      }
      case "probe-report": this.#report(member, message, now); return;
      case "leave": this.#membership.left(member, now); return;
      default: unreachable(message);
    }
  }

  #report(member: Member, message: ProbeReport, now: number): void {
    if (this.#durable.record.forgotten.includes(message.row.id)) return;
    if (this.#membership.rumour(member, message.row, now)) this.#stirred = true;
  }

  #heartbeat(member: Member, beat: Heartbeat, now: number): void {
    for (const id of beat.forgotten) if (id !== this.#identity.nodeId) this.#forget(id, now);
    if (this.#membership.find(member.id) === undefined) return;
    if (beat.seq >= member.seq) this.#claims(member, beat.leads);
    member.clockSkewMs = beat.wallMs - (now + this.#wallOffsetMs);
    if (beat.facts) this.#learn(member, beat.incarnation, beat.facts, now);
    this.#ownRow(member, beat, now);
    this.#rows(member, beat, now);
    for (const { id, incarnation, facts } of beat.relayed ?? []) {
      const third = this.#membership.find(id);
      if (third) this.#learn(third, incarnation, facts, now);
    }
    member.plan = beat.plan;
    if (beat.plan && beat.plan.version > this.#planVersion) this.#planVersion = beat.plan.version;
    this.#offerPlan(member, now);
  }

  /** What the sender knows of us: whether our words arrive, and whether it remembers a later life of ours. */
  #ownRow(member: Member, beat: Heartbeat, now: number): void {
    const row = beat.rows.find((candidate) => candidate.id === this.#identity.nodeId);
    if (!row) return;
    const { incarnation, seq } = this.#outbox;
    if (row.incarnation > incarnation || (row.incarnation === incarnation && row.seq > seq)) {
      this.#durable.incarnation(row.incarnation + 1);
      this.#outbox.reincarnate(row.incarnation + 1);
      this.#mute = true;
      return;
    }
    if (row.incarnation < incarnation) return;
    member.holdsOurFacts = row.factsVersion;
    const sentAt = this.#outbox.sentAt(row.seq);
    if (sentAt !== undefined) this.#membership.proven(member, sentAt, now);
    if (row.state === "suspect" && member.state === "alive") this.#doubt.accused(now);
  }

  #rows(member: Member, beat: Heartbeat, now: number): void {
    let lacks: NodeId[] | undefined;
    for (const row of beat.rows) {
      if (row.id === this.#identity.nodeId || this.#durable.record.forgotten.includes(row.id)) continue;
      if (!this.#membership.find(row.id) && this.#membership.members.length >= MEMBERS_MAX - 1) continue;
      if (this.#membership.rumour(member, row, now)) this.#stirred = true;
      const third = this.#membership.find(row.id);
      if (third?.facts && third.incarnation === row.incarnation && third.facts.version > row.factsVersion) (lacks ??= []).push(row.id);
    }
    for (const third of this.#membership.members) {
      if (third !== member && third.facts && isLive(third) && !beat.rows.some((row) => row.id === third.id)) (lacks ??= []).push(third.id);
    }
    member.lacks = lacks ?? nobody;
  }

  #claims(member: Member, leads: Epoch | undefined): void { if (this.#membership.claims(member, leads)) this.#stirred = true; }
  #claim(): { readonly leads?: Epoch } { const leads = this.#election.leads; return leads ? { leads } : {}; }

  // --- plans

  #offerPlan(member: Member, now: number): void {
    const plan = this.#plan;
    if (!plan || this.#mute || now - member.plannedAt < PLAN_GAP_MS) return;
    if (member.plan && sameEpoch(member.plan.epoch, plan.epoch) && member.plan.version >= plan.version) return;
    if (!this.#election.leads && now - this.#latestAt < PLAN_RELAY_AFTER_MS) return;
    this.#handPlan(member, plan, now);
  }

  #handPlan(member: Member, plan: Plan, now: number): void {
    member.plannedAt = now;
    this.#outbox.send(member, { type: "plan", ...this.#outbox.envelope(now), plan }, this.#effects);
  }

  /** Only under the term in force; the claim may have come in the same message. */
  #adoptPlan(plan: Plan, now: number): void {
    if (this.#stirred) this.#elect(now);
    const term = this.#election.term;
    if (!term || !sameEpoch(term, plan.epoch) || this.#election.leads) return;
    if (this.#latest && sameEpoch(this.#latest.epoch, plan.epoch) && this.#latest.version >= plan.version) return;
    this.#hold(plan, now);
  }

  #hold(plan: Plan, now: number): void {
    this.#latest = plan;
    this.#latestAt = now;
    this.#planVersion = Math.max(this.#planVersion, plan.version);
    this.#durable.planVersion(this.#planVersion);
    this.#outbox.hurry();
  }

  #planIfLeading(now: number): void {
    const epoch = this.#election.leads;
    if (!epoch) return;
    const result = this.#planning.step({
      epoch, leaderSince: this.#leaderSince, model: this.#model, selfId: this.#identity.nodeId, self: this.#facts.current, members: this.#membership.members,
      latest: this.#latest, inForce: this.#plan, version: this.#planVersion,
    }, now);
    if (!result) return;
    if (result.kind === "planless") {
      if (!this.#facts.planless(result.reason, this.#planVersion)) return;
      this.#revoked = this.#latest;
      this.#outbox.hurry();
      this.#event({ kind: "unplannable", reason: result.reason });
      return;
    }
    const { plan } = result;
    this.#facts.planless(undefined);
    this.#hold(plan, now);
    this.#event({ kind: "planned", epoch, version: plan.version, worldSize: plan.ranks.length, why: plan.why });
    for (const member of this.#membership.members) if (isLive(member)) this.#handPlan(member, plan, now);
  }

  // --- what follows from an input

  #settle(now: number): void {
    for (const event of this.#membership.takeEvents()) {
      const { member } = event;
      const deviceId = member.facts?.deviceId ?? "";
      if (event.kind === "restarted") this.#event({ kind: "member_restarted", nodeId: member.id, deviceId });
      else this.#event({ kind: "member", nodeId: member.id, deviceId, from: event.from, to: event.to, cause: member.cause });
      this.#stirred = true;
      this.#planning.touch();
    }
    if (this.#stirred && !this.#over) this.#elect(now);
    this.#planIfLeading(now);
    this.#stage.step(this.#identity.nodeId, this.#plan, this.#facts.current.worker, this.#effects, now);
    this.#watchReadiness(now);
    const id = this.#durable.flush(this.#effects, now);
    if (this.#mute && !this.#awaited) this.#awaited = { id, epoch: undefined };
    if (!this.#mute && this.#outbox.beatDue(now)) this.#outbox.beat(this.#membership.members, this.#standing(now), this.#effects, now);
  }

  #elect(now: number): void {
    this.#stirred = false;
    if (this.#mute) return;
    this.#carryOut(this.#election.evaluate(this.#electorate(), now), now);
  }

  #electorate(): Electorate {
    const complete = this.#expected.length > 0 && this.#expected.every((id) => this.#membership.find(id)?.state === "alive");
    return { members: this.#membership.members, self: this.#facts.current, doubt: this.#doubt.level, complete };
  }

  #carryOut(actions: readonly ElectionAction[], now: number): void {
    for (const action of actions) {
      switch (action.kind) {
        case "stand":
          this.#durable.epoch(action.epoch);
          this.#awaited = { id: this.#durable.flush(this.#effects, now), epoch: action.epoch };
          this.#event({ kind: "election_started", epoch: action.epoch, cause: action.cause });
          break;
        case "lead":
          this.#leaderSince = now;
          this.#planning.touch();
          this.#effects.push({ kind: "becomeLeader", epoch: action.epoch });
          this.#event({ kind: "election_won", epoch: action.epoch, cause: action.cause, tookMs: action.tookMs });
          this.#leaderChanged(action.epoch, action.cause);
          break;
        case "stepDown":
          this.#effects.push({ kind: "stepDown", epoch: action.epoch, cause: action.cause });
          this.#outbox.hurry();
          break;
        case "follow":
          if (action.epoch) this.#durable.epoch(action.epoch);
          this.#factsChanged(this.#facts.aside(false));
          this.#factsChanged(this.#facts.planless(undefined));
          this.#leaderChanged(action.epoch, action.cause);
          break;
        default: unreachable(action);
      }
    }
  }

  #leaderChanged(epoch: Epoch | undefined, cause: LeaderChangeCause): void {
    this.#outbox.hurry();
    this.#event({ kind: "leader_changed", leader: epoch?.nodeId, epoch, cause });
  }

  #persisted(id: number, now: number): void {
    this.#durable.persisted(id);
    const awaited = this.#awaited;
    if (!awaited || id < awaited.id) return;
    this.#awaited = undefined;
    if (this.#mute) { this.#mute = false; this.#stirred = true; this.#outbox.hurry(); }
    if (awaited.epoch) this.#carryOut(this.#election.persisted(awaited.epoch, this.#electorate(), now), now);
  }

  #watchReadiness(now: number): void {
    const plan = this.#plan;
    const ready = plan !== undefined && isReady(plan, this.#factsOf) ? plan : undefined;
    if (ready === this.#readyAs) return;
    this.#readyAs = ready;
    if (ready) this.#event({ kind: "ready", epoch: ready.epoch, version: ready.version, sincePlanMs: now - this.#latestAt });
    else this.#event({ kind: "not_ready", reasons: plan ? missing(plan, this.#factsOf) : [this.#election.term ? `no plan under epoch ${epochText(this.#election.term)} yet` : "no leader"] });
  }

  #greet(member: Member, now: number): void {
    if (this.#mute) return;
    member.greetedAt = now;
    const beat = this.#outbox.heartbeat(this.#membership.members, this.#standing(now), now);
    this.#outbox.send(member, addressed(beat, member, this.#membership.members, this.#facts.current, now), this.#effects);
  }

  #standing(now: number): Standing {
    const leads = this.#election.leads;
    return { leads, plan: this.#plan, facts: this.#facts.current, forgotten: this.#durable.record.forgotten, wallMs: Math.round(now + this.#wallOffsetMs) };
  }

  #factsChanged(changed: boolean): void {
    if (!changed) return;
    this.#stirred = true;
    this.#planning.touch();
    this.#outbox.hurry();
  }

  #learn(member: Member, incarnation: number, facts: NodeFacts, now: number): void {
    if (!this.#membership.learn(member, incarnation, facts, now)) return;
    const plan = this.#plan;
    if (facts.planless && plan?.epoch.nodeId === member.id && plan.version <= facts.planless.upTo) this.#revoked = plan;
    this.#stirred = true;
    this.#planning.touch();
  }

  #forget(id: NodeId, now: number): void {
    if (id === this.#identity.nodeId || !this.#durable.forget(id)) return;
    const member = this.#membership.find(id);
    if (member) this.#membership.left(member, now);
    this.#membership.remove(id);
    this.#book.forget(id);
    this.#stirred = true;
    this.#planning.touch();
  }

  #leave(now: number): void {
    this.#carryOut(this.#election.abdicate("leaving", now), now);
    for (const member of this.#membership.members) if (isLive(member)) this.#outbox.send(member, { type: "leave", ...this.#outbox.envelope(now) }, this.#effects);
    this.#over = true;
  }

  #event(event: ClusterEvent): void { this.#effects.push({ kind: "event", event }); }
}

const nobody: readonly NodeId[] = Object.freeze([]);
