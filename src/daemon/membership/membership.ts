/**
 * Who is there. Every node sends every other one a heartbeat; each heartbeat carries the sender's view of all members, so news of a
 * member reaches those who cannot hear it themselves ("I can't reach it" is told from "it is gone"), and each member reads there
 * whether its own words arrive (one-way loss).
 *
 * The state of a member follows from one number: `sureAt`, the last moment of which it is proven that the member lived *and* heard us.
 *  - Directly: its heartbeat names the newest message of ours that it knows; we know when we sent that.
 *  - Through others: a member of whom we are sure says that it is sure. Such proofs count relays (`hops`), else two nodes could keep
 *    a third one alive by quoting each other for ever.
 * Messages of one sender are ordered by (incarnation, seq); older ones prove nothing. A higher incarnation is a restart, a gap
 * without one is a blip.
 *
 * Not here: sending, elections, plans. No clock: every method is told the time.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import { type Member, type MemberRow, type MemberState, died, newMember } from "./member.js";
import type { NodeFacts } from "./facts.js";

export interface DetectorConfig {
  readonly suspectAfterMs: number;
  readonly deadAfterMs: number;
}

export type MembershipEvent =
  | { readonly kind: "state"; readonly member: Member; readonly from: MemberState; readonly to: MemberState }
  | { readonly kind: "restarted"; readonly member: Member };

/** An agent whose machine refuses connections on its port has ended: the rest of the patience is for its restart. */
const REFUSED_PATIENCE = 0.5;
/** A node whose agent and worker both refuse was stopped or killed whole: only a start of both at once could be in time. */
const NODE_DOWN_PATIENCE = 0.25;

/** Longest chain of relays that a proof of life may have. */
export const HOPS_MAX = 4;

export class Membership {
  readonly #config: DetectorConfig;
  readonly #selfId: NodeId;
  readonly #byId = new Map<NodeId, Member>();
  readonly #list: Member[] = [];
  readonly #events: MembershipEvent[] = [];

  constructor(selfId: NodeId, config: DetectorConfig) {
    this.#selfId = selfId;
    this.#config = config;
  }

  /** The others, in the order in which they were met. */
  get members(): readonly Member[] { return this.#list; }
  find(id: NodeId): Member | undefined { return this.#byId.get(id); }

  /** What happened since the last call. */
  takeEvents(): readonly MembershipEvent[] { return this.#events.length === 0 ? none : this.#events.splice(0); }

  introduce(id: NodeId, now: number): Member {
    const known = this.#byId.get(id);
    if (known) return known;
    const member = newMember(id, now);
    this.#byId.set(id, member);
    this.#list.push(member);
    return member;
  }

  remove(id: NodeId): void {
    const member = this.#byId.get(id);
    if (!member) return;
    this.#byId.delete(id);
    this.#list.splice(this.#list.indexOf(member), 1);
  }

  /** A message came from the member itself. @returns false when it is older than what came before: then its content is stale. */
  heard(member: Member, incarnation: number, seq: number, now: number): boolean {
    if (incarnation < member.incarnation) return false;
    this.#adoptIncarnation(member, incarnation);
    if (seq <= member.directSeq) return false;
    if (now - member.directAt > this.#config.suspectAfterMs) member.directSince = now;
    member.directSeq = seq;
    member.directAt = now;
    if (seq > member.seq) { member.seq = seq; member.evidenceAt = now; }
    return true;
  }

  /** It speaks, and proves that what we sent at `sentAt` reached it: recent enough words count as now. */
  proven(member: Member, sentAt: number, now: number): void {
    const sureAt = now - sentAt <= this.#config.suspectAfterMs ? now : sentAt;
    if (sureAt > member.sureAt) { member.sureAt = sureAt; member.hops = 0; }
    this.#judge(member, now, 0);
  }

  /** Its machine answered that nobody listens on the agent's port. Words that arrive later, by whatever way, weigh more. */
  refused(member: Member, byWorkerToo: boolean, now: number): void {
    member.refusedAt = now;
    if (byWorkerToo) member.downAt = now;
  }

  /** Its newest word on whether it leads; to be called only with words at least as new as what is known. */
  claims(member: Member, leads: Epoch | undefined): boolean {
    if (member.leads?.counter === leads?.counter && member.leads?.nodeId === leads?.nodeId) return false;
    member.leads = leads;
    if (leads) member.restarted = false;
    return true;
  }

  /**
   * What `by` says of a third member.
   * @returns true when the third member's claim to lead changed by it.
   */
  rumour(by: Member, row: MemberRow, now: number): boolean {
    if (row.id === this.#selfId || row.incarnation < 0) return false;
    let member = this.#byId.get(row.id);
    if (!member) {
      if (row.state === "dead" || row.state === "left") return false;
      member = this.introduce(row.id, now);
    }
    if (row.incarnation < member.incarnation || (row.incarnation === member.incarnation && row.seq < member.seq)) return false;
    if (row.incarnation === member.incarnation && row.seq === member.seq) {
      if (row.state === "left" && member.state !== "left") this.#become(member, "left", "said goodbye", now);
      return false;
    }
    this.#adoptIncarnation(member, row.incarnation);
    member.seq = row.seq;
    member.evidenceAt = Math.max(member.evidenceAt, now - row.ageMs);
    if (row.state === "left") this.#become(member, "left", "said goodbye", now);
    else if ((row.state === "alive" || row.state === "suspect") && row.hops < HOPS_MAX && now - member.directAt > this.#config.suspectAfterMs / 2) {
      // Whoever hears a member itself goes by the member's own word; this is for those who do not.
      const sureAt = Math.min(now - row.ageMs, by.sureAt);
      if (sureAt > member.sureAt) { member.sureAt = sureAt; member.hops = Math.max(row.hops, by.hops) + 1; }
      this.#judge(member, now, 0);
    }
    return this.claims(member, row.leads);
  }

  /** @returns false when these facts are older than those held. */
  learn(member: Member, incarnation: number, facts: NodeFacts, now: number): boolean {
    if (incarnation !== member.incarnation) return false;
    if (member.facts && member.facts.version >= facts.version) return false;
    member.facts = facts;
    member.factsAt = now;
    return true;
  }

  left(member: Member, now: number): void {
    this.#become(member, "left", "said goodbye", now);
    member.leads = undefined;
  }

  /** Judges everybody by the time. @param doubt stretches the timeouts by 1 + doubt. */
  tick(now: number, doubt: number): void {
    for (const member of this.#list) this.#judge(member, now, doubt);
  }

  /** This process did not run for `ms`: silence during that time is not theirs. */
  forgive(ms: number, now: number): void {
    for (const member of this.#list) {
      member.sureAt = Math.min(now, member.sureAt + ms);
      member.directAt = Math.min(now, member.directAt + ms);
    }
  }

  /** This machine slept: nothing is known of the others, so everybody gets the benefit of the doubt once. */
  reset(now: number): void {
    for (const member of this.#list) if (member.state === "alive" || member.state === "suspect") { member.sureAt = now; member.directAt = now; }
  }

  #adoptIncarnation(member: Member, incarnation: number): void {
    if (incarnation <= member.incarnation) return;
    const restarted = member.incarnation >= 0;
    member.incarnation = incarnation;
    member.seq = -1;
    member.directSeq = -1;
    member.leads = undefined;
    member.facts = member.facts && { ...member.facts, version: -1 };
    member.holdsOurFacts = -1;
    member.plan = undefined;
    member.restarted = restarted;
    if (restarted) this.#events.push({ kind: "restarted", member });
  }

  #judge(member: Member, now: number, doubt: number): void {
    const ageMs = now - member.sureAt;
    const { suspectAfterMs } = this.#config;
    const deadAfterMs = this.#config.deadAfterMs * (member.downAt > member.sureAt ? NODE_DOWN_PATIENCE : member.refusedAt > member.sureAt ? REFUSED_PATIENCE : 1);
    // Who is held for dead before it would have been suspected stays so until it gives a new sign of life.
    const aliveWithinMs = Math.min(suspectAfterMs, deadAfterMs);
    switch (member.state) {
      case "alive":
        if (ageMs > deadAfterMs * (1 + doubt)) this.#become(member, "dead", this.#silence(member, now), now);
        else if (ageMs > suspectAfterMs * (1 + doubt)) this.#become(member, "suspect", this.#silence(member, now), now);
        return;
      case "suspect":
        if (ageMs > deadAfterMs * (1 + doubt)) this.#become(member, "dead", this.#silence(member, now), now);
        else if (ageMs <= aliveWithinMs) this.#become(member, "alive", "heard again", now);
        return;
      case "introduced":
        if (ageMs <= aliveWithinMs) this.#become(member, "alive", member.hops > 0 ? "met through others" : "met", now);
        return;
      case "dead":
        if (ageMs <= aliveWithinMs) this.#become(member, "alive", "came back", now);
        return;
      case "left":
        // Only words sent after the goodbye bring it back, and a proof that is younger than it.
        if (ageMs <= aliveWithinMs && member.sureAt > member.since) this.#become(member, "alive", "came back", now);
        return;
    }
  }

  #silence(member: Member, now: number): string {
    if (member.downAt > member.sureAt) return "its agent and its worker are not running";
    if (member.refusedAt > member.sureAt) return "its agent is not running";
    return now - member.evidenceAt <= this.#config.suspectAfterMs ? "it is heard, but does not hear us" : "silent";
  }

  #become(member: Member, to: MemberState, cause: string, now: number): void {
    const from = member.state;
    if (from === to) return;
    member.state = to;
    if (to === "alive" && from !== "suspect") member.joinedAt = now;
    if (to === "dead") died(member, now);
    member.since = now;
    member.cause = cause;
    this.#events.push({ kind: "state", member, from, to });
  }
}

const none: readonly MembershipEvent[] = Object.freeze([]);
