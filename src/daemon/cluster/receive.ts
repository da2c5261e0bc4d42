/** What messages teach: who lives and hears us, who leads, what everybody is, and which plan is in force. */
import type { Epoch, NodeId } from "../../core/ids.js";
import { unreachable } from "../../core/invariant.js";
import type { NodeFacts } from "../membership/facts.js";
import { type Member, adoptProtocol, isLive } from "../membership/member.js";
import { type ClusterMessage, type Heartbeat, MEMBERS_MAX } from "./messages.js";
import { addressed, rowOf } from "./outbox.js";
import type { Plans } from "./plans.js";
import type { ClusterState } from "./state.js";

/** A member is greeted out of turn at most this often. */
const GREET_GAP_MS = 100;

export class Receiver {
  readonly #state: ClusterState;
  readonly #plans: Plans;
  /** Lets the election look again, before something that depends on its outcome is judged. */
  readonly #elect: (now: number) => void;

  constructor(state: ClusterState, plans: Plans, elect: (now: number) => void) {
    this.#state = state;
    this.#plans = plans;
    this.#elect = elect;
  }

  receive(from: NodeId, message: ClusterMessage, now: number): void {
    const state = this.#state;
    const { identity, membership, durable } = state;
    if (from === identity.nodeId || durable.record.forgotten.includes(from)) return;
    if (message.clusterId !== identity.clusterId) {
      if (message.clusterName === identity.clusterName) state.foreigners.note(message.clusterId, "", now);
      return;
    }
    if (!this.#room(from)) return;
    const member = membership.introduce(from, now);
    const wasLive = isLive(member);
    const known = member.incarnation;
    if (!membership.heard(member, message.incarnation, message.seq, now)) {
      // Overtaken by a later message: a plan has an order of its own, and would be overtaken again the next time.
      if (message.type === "plan" && message.incarnation === known && member.compatible) this.#content(member, message, now);
      return;
    }
    adoptProtocol(member, message.protocol, identity.protocol);
    // Of a version that cannot be spoken with only the heartbeat is read, whose form does not change.
    if (member.compatible || message.type === "heartbeat") this.#content(member, message, now);
    if (wasLive !== isLive(member)) state.stir();
    // Whoever is new, or back, should not have to wait for the next round.
    if ((member.incarnation !== known || !isLive(member)) && now - member.greetedAt >= GREET_GAP_MS) this.#greet(member, now);
  }

  #content(member: Member, message: ClusterMessage, now: number): void {
    const { outbox, membership, mute, effects, identity } = this.#state;
    switch (message.type) {
      case "heartbeat": this.#heartbeat(member, message, now); return;
      case "plan":
        if (message.plan.epoch.nodeId === member.id && message.seq >= member.seq) this.#claims(member, message.plan.epoch);
        if (this.#state.stirred) this.#elect(now);
        this.#plans.adopt(message.plan, now);
        return;
      case "probe":
        if (mute || !this.#state.mayAnswer()) return;
        outbox.send(member, { type: "probe-ack", ...outbox.envelope(now), origin: message.origin, echoIncarnation: message.incarnation, echo: message.seq, ...this.#claim() }, effects);
        return;
      case "probe-ack": {
        if (message.seq >= member.seq) this.#claims(member, message.leads);
        const sentAt = message.echoIncarnation === outbox.incarnation ? outbox.sentAt(message.echo) : undefined;
        if (sentAt !== undefined) membership.proven(member, sentAt, now);
        const origin = message.origin === identity.nodeId ? undefined : membership.find(message.origin);
        if (origin && this.#state.mayAnswer()) outbox.send(origin, { type: "probe-report", ...outbox.envelope(now), row: rowOf(member, now) }, effects);
        return;
      }
      case "probe-request": {
        const target = membership.find(message.target);
        if (target && !mute && this.#state.mayAnswer()) outbox.send(target, { type: "probe", ...outbox.envelope(now), origin: member.id }, effects);
        return;
      }
      case "probe-report":
        if (this.#room(message.row.id) && membership.rumour(member, message.row, now)) this.#state.stir();
        return;
      case "leave": membership.left(member, now); return;
      default: unreachable(message);
    }
  }

  #heartbeat(member: Member, beat: Heartbeat, now: number): void {
    const state = this.#state;
    for (const id of beat.forgotten) state.forget(id, now);
    if (state.membership.find(member.id) === undefined) return;
    if (beat.seq >= member.seq) this.#claims(member, beat.leads);
    member.clockSkewMs = beat.wallMs - (now + state.wallOffsetMs);
    if (beat.facts) this.#learn(member, beat.incarnation, beat.facts, now);
    this.#ownRow(member, beat, now);
    this.#rows(member, beat, now);
    for (const { id, incarnation, facts } of beat.relayed ?? []) {
      const third = state.membership.find(id);
      if (third) this.#learn(third, incarnation, facts, now);
    }
    member.plan = beat.plan;
    if (beat.plan && beat.plan.version > state.planVersion) state.planVersion = beat.plan.version;
    this.#plans.offer(member, now);
  }

  /** What the sender knows of us: whether our words arrive, and whether it remembers a later life of ours. */
  #ownRow(member: Member, beat: Heartbeat, now: number): void {
    const { outbox, durable, membership, doubt, selfId } = this.#state;
    const row = beat.rows.find((candidate) => candidate.id === selfId);
    if (!row) return;
    if (row.incarnation > outbox.incarnation || (row.incarnation === outbox.incarnation && row.seq > outbox.seq)) {
      durable.incarnation(row.incarnation + 1);
      outbox.reincarnate(row.incarnation + 1);
      this.#state.mute = true;
      return;
    }
    if (row.incarnation < outbox.incarnation) return;
    member.holdsOurFacts = row.factsVersion;
    const sentAt = outbox.sentAt(row.seq);
    if (sentAt !== undefined) membership.proven(member, sentAt, now);
    if (row.state === "suspect" && member.state === "alive") doubt.accused(now);
  }

  #rows(member: Member, beat: Heartbeat, now: number): void {
    const { membership, members, selfId } = this.#state;
    let lacks: NodeId[] | undefined;
    for (const row of beat.rows) {
      if (row.id === selfId || !this.#room(row.id)) continue;
      if (membership.rumour(member, row, now)) this.#state.stir();
      const third = membership.find(row.id);
      if (third?.facts && third.incarnation === row.incarnation && third.facts.version > row.factsVersion) (lacks ??= []).push(row.id);
    }
    for (const third of members) {
      if (third !== member && third.facts && isLive(third) && !beat.rows.some((row) => row.id === third.id)) (lacks ??= []).push(third.id);
    }
    member.lacks = lacks ?? nobody;
  }

  #learn(member: Member, incarnation: number, facts: NodeFacts, now: number): void {
    if (!this.#state.membership.learn(member, incarnation, facts, now)) return;
    this.#state.moved();
  }

  /** Known already, or neither removed for good nor one too many. */
  #room(id: NodeId): boolean {
    const { membership, members, durable } = this.#state;
    return membership.find(id) !== undefined || (members.length < MEMBERS_MAX - 1 && !durable.record.forgotten.includes(id));
  }

  #claims(member: Member, leads: Epoch | undefined): void { if (this.#state.membership.claims(member, leads)) this.#state.stir(); }

  #claim(): { readonly leads?: Epoch } {
    const { leads } = this.#state.election;
    return leads ? { leads } : {};
  }

  #greet(member: Member, now: number): void {
    const state = this.#state;
    if (state.mute) return;
    member.greetedAt = now;
    const beat = state.outbox.heartbeat(state.members, state.standing(now), now);
    state.outbox.send(member, addressed(beat, member, state.members, state.facts.current, now), state.effects);
  }
}

const nobody: readonly NodeId[] = Object.freeze([]);
