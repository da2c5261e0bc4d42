/**
 * Everything this node says: envelopes, heartbeats to whom and how often, and the memory of when each message was sent,
 * which turns "I know your message 17" into a moment of which we are sure.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import type { NodeFacts } from "../membership/facts.js";
import type { Member, MemberRow } from "../membership/member.js";
import type { Plan } from "../planner/plan.js";
import type { AddressBook } from "./address-book.js";
import type { ClusterConfig, ClusterEffect, ClusterIdentity, Destination } from "./contract.js";
import type { ClusterMessage, Heartbeat } from "./messages.js";

/** Send times are kept for this many messages: far more than are sent until a member counts as dead. */
const SENT_MAX = 512;
/** Members not live are called on in every n-th round of heartbeats only. */
const DEAD_EVERY = 2;
const LONG_DEAD_EVERY = 20;
const LONG_DEAD_MS = 600_000;
/** Rounds out of turn, when something worth knowing has changed: so many at once, one more with every tick, and at least this far apart. */
const URGENT_MAX = 4;
const URGENT_GAP_MS = 5;
/** Facts of third members are passed on once their own heartbeats have had the chance to do it. */
const RELAY_AFTER_MS = 1_000;

/** What a heartbeat says of the sender's own state. */
export interface Standing {
  readonly leads: Epoch | undefined;
  readonly plan: Plan | undefined;
  readonly facts: NodeFacts;
  readonly forgotten: readonly NodeId[];
  readonly wallMs: number;
}

export class Outbox {
  readonly #identity: ClusterIdentity;
  readonly #config: ClusterConfig;
  readonly #book: AddressBook;
  #incarnation: number;
  #seq = 0;
  readonly #sentAt = new Float64Array(SENT_MAX);
  #beatAt = -Infinity;
  #rounds = 0;
  #urgent = false;
  #credit = URGENT_MAX;
  readonly #destinations = new Map<NodeId, { readonly facts: NodeFacts | undefined; readonly known: number; readonly to: Destination }>();

  constructor(identity: ClusterIdentity, config: ClusterConfig, book: AddressBook, incarnation: number) {
    this.#identity = identity;
    this.#config = config;
    this.#book = book;
    this.#incarnation = incarnation;
  }

  get incarnation(): number { return this.#incarnation; }
  get seq(): number { return this.#seq; }

  /** Others know a later life of this node than it knows itself. */
  reincarnate(incarnation: number): void {
    this.#incarnation = incarnation;
    this.#seq = 0;
  }

  newTick(): void { this.#credit = Math.min(URGENT_MAX, this.#credit + 1); }

  /** The next round of heartbeats should not wait its turn. */
  hurry(): void { this.#urgent = true; }

  /** When message `seq` of this incarnation was sent; undefined when that was too long ago to matter. */
  sentAt(seq: number): number | undefined {
    return seq > 0 && seq <= this.#seq && seq > this.#seq - SENT_MAX ? this.#sentAt[seq % SENT_MAX] : undefined;
  }

  envelope(now: number) {
    this.#seq += 1;
    this.#sentAt[this.#seq % SENT_MAX] = now;
    return { clusterId: this.#identity.clusterId, clusterName: this.#identity.clusterName, protocol: this.#identity.protocol, incarnation: this.#incarnation, seq: this.#seq };
  }

  beatDue(now: number): boolean {
    const elapsedMs = now - this.#beatAt;
    if (this.#urgent && this.#credit > 0 && elapsedMs >= URGENT_GAP_MS) return true;
    return elapsedMs >= this.#config.heartbeatIntervalMs - this.#config.tickIntervalMs / 2;
  }

  /** A round of heartbeats. */
  beat(members: readonly Member[], standing: Standing, effects: ClusterEffect[], now: number): void {
    this.#beatAt = now;
    if (this.#urgent) this.#credit = Math.max(0, this.#credit - 1);
    this.#urgent = false;
    this.#rounds += 1;
    const common = this.heartbeat(members, standing, now);
    for (const member of members) {
      if (member.state !== "alive" && member.state !== "suspect") {
        const every = member.state === "left" || now - member.since > LONG_DEAD_MS ? LONG_DEAD_EVERY : DEAD_EVERY;
        if (this.#rounds % every !== 0) continue;
      }
      this.send(member, addressed(common, member, members, standing.facts, now), effects);
    }
  }

  /** A heartbeat for whoever, without facts. */
  heartbeat(members: readonly Member[], standing: Standing, now: number): Heartbeat {
    const { leads, plan, facts, forgotten, wallMs } = standing;
    return {
      type: "heartbeat", ...this.envelope(now), wallMs, factsVersion: facts.version, rows: rowsOf(members, now), forgotten,
      ...(leads ? { leads } : {}), ...(plan ? { plan: { epoch: plan.epoch, version: plan.version } } : {}),
    };
  }

  send(member: Member, message: ClusterMessage, effects: ClusterEffect[]): void {
    const to = this.destination(member);
    if (to.addresses.length > 0) effects.push({ kind: "send", to, message });
  }

  forget(id: NodeId): void { this.#destinations.delete(id); }

  /** Addresses that the member itself announces, then those where it was introduced. */
  destination(member: Member): Destination {
    const introduced = this.#book.of(member.id);
    const cached = this.#destinations.get(member.id);
    if (cached && cached.facts === member.facts && cached.known === introduced.length) return cached.to;
    const announced = member.facts?.addresses.map((address) => `${address}:${member.facts?.agentPort}`) ?? [];
    const to = { nodeId: member.id, addresses: [...new Set([...announced, ...introduced])] };
    this.#destinations.set(member.id, { facts: member.facts, known: introduced.length, to });
    return to;
  }
}

/** The common heartbeat, with what this one member lacks. */
export function addressed(common: Heartbeat, member: Member, members: readonly Member[], facts: NodeFacts, now: number): Heartbeat {
  const lacksOurs = member.holdsOurFacts < facts.version;
  const relayed = member.lacks.length === 0 ? [] : relayable(member.lacks, members, now);
  if (!lacksOurs && relayed.length === 0) return common;
  return { ...common, ...(lacksOurs ? { facts } : {}), ...(relayed.length > 0 ? { relayed } : {}) };
}

function relayable(lacks: readonly NodeId[], members: readonly Member[], now: number): NonNullable<Heartbeat["relayed"]> {
  return members.flatMap((other) =>
    (other.facts && other.facts.version >= 0 && now - other.factsAt >= RELAY_AFTER_MS && lacks.includes(other.id) ? [{ id: other.id, incarnation: other.incarnation, facts: other.facts }] : []));
}

export function rowOf(member: Member, now: number): MemberRow {
  return {
    id: member.id, incarnation: member.incarnation, seq: member.seq, ageMs: Math.max(0, Math.round(now - member.evidenceAt)), state: member.state,
    hops: member.hops, factsVersion: member.facts?.version ?? -1, ...(member.leads ? { leads: member.leads } : {}),
  };
}

function rowsOf(members: readonly Member[], now: number): readonly MemberRow[] {
  const rows: MemberRow[] = [];
  for (const member of members) if (member.incarnation >= 0) rows.push(rowOf(member, now));
  return rows;
}
