/**
 * Everything that one node's core knows, in one place, and the small questions asked everywhere. Private to this folder:
 * `receive.ts`, `rounds.ts` and `plans.ts` work on it, `cluster.ts` is the only one that creates it.
 */
import { type Epoch, type NodeId, sameEpoch } from "../../core/ids.js";
import { Election, type ElectionConfig, type Electorate } from "../election/election.js";
import { type Member, isLive } from "../membership/member.js";
import { Membership } from "../membership/membership.js";
import { SelfDoubt } from "../membership/self-doubt.js";
import type { ModelShape, Plan } from "../planner/plan.js";
import { AddressBook } from "./address-book.js";
import type { ClusterConfig, ClusterEffect, ClusterEvent, ClusterIdentity, ClusterInit } from "./contract.js";
import { Durable } from "./durable.js";
import { Foreigners } from "./foreigners.js";
import { Outbox, type Standing } from "./outbox.js";
import { OwnFacts } from "./own-facts.js";
import { Planning } from "./planning.js";
import type { FactsOf } from "./readiness.js";

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

/** Probes answered or passed on within one tick, for each member: a backlog after a pause must not become a storm. */
const ANSWERS_PER_MEMBER = 4;

export class ClusterState {
  readonly identity: ClusterIdentity;
  readonly config: ClusterConfig;
  readonly membership: Membership;
  readonly election: Election;
  readonly doubt: SelfDoubt;
  readonly facts: OwnFacts;
  readonly book = new AddressBook();
  readonly foreigners = new Foreigners();
  readonly durable: Durable;
  readonly outbox: Outbox;
  readonly planning: Planning;
  readonly factsOf: FactsOf;
  /** Of the step that runs now. */
  effects: ClusterEffect[] = [];
  model: ModelShape | undefined;
  /** Known at start from the last run: when all are here, there is nothing to listen for. */
  readonly expected: readonly NodeId[];
  /** Newest plan known, of whatever term: layers stay where it put them. */
  latest: Plan | undefined;
  latestAt = 0;
  /** The plan that its leader has taken back: the model does not fit any more. */
  revoked: Plan | undefined;
  /** Highest plan version ever heard of. */
  planVersion: number;
  leaderSince = 0;
  wallOffsetMs: number;
  /** Nothing is sent until this life's incarnation is on disk. */
  mute = true;
  /** Something that the election depends on has changed; and something that plan, stage and readiness depend on. */
  stirred = true;
  changed = true;
  #answersLeft = ANSWERS_PER_MEMBER;

  constructor(init: ClusterInit, parts: ClusterParts) {
    const { identity, config, facts, durable, counterFloor, now } = init;
    this.identity = identity;
    this.config = config;
    this.model = init.model;
    this.wallOffsetMs = init.wallMs - now;
    this.membership = parts.membership(identity.nodeId, config);
    this.doubt = parts.doubt(config, now, init.wallMs);
    this.facts = new OwnFacts(facts, identity.protocol);
    this.durable = new Durable(durable, counterFloor);
    const { record } = this.durable;
    this.outbox = new Outbox(identity, config, this.book, record.incarnation);
    this.planning = parts.planning(config);
    this.planVersion = record.planVersion;
    const { heartbeatIntervalMs, listenMs } = config;
    this.election = parts.election(identity.nodeId, { listenMs, staggerMs: 3 * heartbeatIntervalMs, fencedAfterMs: 2 * heartbeatIntervalMs }, record.epoch, now);
    this.expected = record.peers.map((peer) => peer.nodeId);
    for (const peer of record.peers) for (const address of peer.addresses) this.book.introduce(address, peer.nodeId, false, now);
    this.factsOf = (id) => {
      if (id === identity.nodeId) return { facts: this.facts.current, live: true };
      const member = this.membership.find(id);
      return member && { facts: member.facts, live: isLive(member) };
    };
  }

  get members(): readonly Member[] { return this.membership.members; }
  get selfId(): NodeId { return this.identity.nodeId; }

  /** The plan in force. */
  get plan(): Plan | undefined {
    const { term } = this.election;
    return term && this.latest && this.latest !== this.revoked && sameEpoch(this.latest.epoch, term) ? this.latest : undefined;
  }

  /** Name of the leader when the link to it is broken in either direction, although it is alive. */
  leaderUnreachable(): string | undefined {
    const { term } = this.election;
    const leader = term && this.membership.find(term.nodeId);
    if (!leader || !(this.facts.current.unheard.includes(leader.id) || leader.facts?.unheard.includes(this.selfId))) return undefined;
    return leader.facts?.deviceId ?? leader.id;
  }

  electorate(): Electorate {
    const complete = this.expected.length > 0 && this.expected.every((id) => this.membership.find(id)?.state === "alive");
    return { members: this.members, self: this.facts.current, doubt: this.doubt.level, complete };
  }

  standing(now: number): Standing {
    return { leads: this.election.leads, plan: this.plan, facts: this.facts.current, forgotten: this.durable.record.forgotten, wallMs: Math.round(now + this.wallOffsetMs) };
  }

  stir(): void {
    this.stirred = true;
    this.changed = true;
  }

  /** Somebody's facts or state changed: the election and the plan may depend on it. */
  moved(): void {
    this.stir();
    this.planning.touch();
  }

  /** This node's own facts: the others should know soon. */
  ownFactsChanged(changed: boolean): void {
    if (!changed) return;
    this.moved();
    this.outbox.hurry();
  }

  event(event: ClusterEvent): void { this.effects.push({ kind: "event", event }); }

  newTick(): void {
    this.#answersLeft = ANSWERS_PER_MEMBER * (1 + this.members.length);
    this.outbox.newTick();
  }

  mayAnswer(): boolean {
    this.#answersLeft -= 1;
    return this.#answersLeft >= 0;
  }

  forget(id: NodeId, now: number): void {
    if (id === this.selfId || !this.durable.forget(id)) return;
    const member = this.membership.find(id);
    if (member) this.membership.left(member, now);
    this.drop(id);
    this.book.forget(id);
    this.moved();
  }

  drop(id: NodeId): void {
    this.membership.remove(id);
    this.outbox.forget(id);
  }
}
