/**
 * One other machine as this one knows it, and what is told of it to third ones.
 * A mutable record, owned by `Membership`; everybody else reads.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import { type NodeFacts, type ProtocolRange, protocolsOverlap } from "./facts.js";

/**
 * `introduced`: heard of, but not yet both ways. `alive`: it lives, and what we say reaches it. `suspect`: no proof of that for a while.
 * `dead`: none for too long. `left`: it said goodbye.
 */
export type MemberState = "introduced" | "alive" | "suspect" | "dead" | "left";

/** One member as the sender of a heartbeat sees it: so the receiver learns of members that it cannot hear itself. */
export interface MemberRow {
  readonly id: NodeId;
  readonly incarnation: number;
  /** Highest message counter of that member that reached the sender, by whatever way. */
  readonly seq: number;
  /** Milliseconds since the member sent that, as far as the sender can tell. */
  readonly ageMs: number;
  readonly state: MemberState;
  /** How many others lie between the sender and the proof that the member is alive: 0 when the sender hears it itself. */
  readonly hops: number;
  /** The version of its facts that the sender holds; -1: none. */
  readonly factsVersion: number;
  /** The term that the member claims to lead, by its own latest word. */
  readonly leads?: Epoch;
}

export interface Member {
  readonly id: NodeId;
  incarnation: number;
  /** Newest message counter known, by whatever way. */
  seq: number;
  /** When that was sent, as far as we can tell. */
  evidenceAt: number;
  /** Newest message counter that came from itself, and when it came. */
  directSeq: number;
  directAt: number;
  /** Since when it has been heard directly without a gap. */
  directSince: number;
  /** The last moment of which it is proven that it lived and that our words reached it. State follows from this alone. */
  sureAt: number;
  /** When its machine last refused a connection: it is up, but its agent is not. */
  refusedAt: number;
  /** When it last did so on its worker's port too. */
  downAt: number;
  /** Relays between us and that proof. */
  hops: number;
  state: MemberState;
  since: number;
  /** In words. */
  cause: string;
  /** Claims to lead this term, by its newest word. */
  leads: Epoch | undefined;
  /** More than one incarnation of it was met, and the present one has led nothing yet. */
  restarted: boolean;
  protocol: ProtocolRange | undefined;
  compatible: boolean;
  facts: NodeFacts | undefined;
  factsAt: number;
  /** Version of our facts that it holds; -1: none. */
  holdsOurFacts: number;
  /** Third members whose facts it was last seen to lack. */
  lacks: readonly NodeId[];
  /** The plan that it holds. */
  plan: { readonly epoch: Epoch; readonly version: number } | undefined;
  /** When it last became alive after being unknown, dead or gone. */
  joinedAt: number;
  /** How often it died lately, and when last: who comes and goes is taken in again ever more hesitantly. */
  deaths: number;
  diedAt: number;
  /** When we last sent it something beyond the regular heartbeats. */
  greetedAt: number;
  plannedAt: number;
  /** Its wall clock minus ours, transit included. */
  clockSkewMs: number;
}

export function newMember(id: NodeId, now: number): Member {
  return {
    id, incarnation: -1, seq: -1, evidenceAt: -Infinity, directSeq: -1, directAt: -Infinity, directSince: now, sureAt: -Infinity, refusedAt: -Infinity, downAt: -Infinity, hops: 0,
    state: "introduced", since: now, cause: "introduced", leads: undefined, restarted: false, protocol: undefined, compatible: true, facts: undefined, factsAt: now,
    holdsOurFacts: -1, lacks: [], plan: undefined, joinedAt: now, deaths: 0, diedAt: -Infinity, greetedAt: -Infinity, plannedAt: -Infinity, clockSkewMs: 0,
  };
}

/** Counts for election and keeps its stage: suspicion alone changes nothing. */
export const isLive = (member: Member): boolean => member.compatible && (member.state === "alive" || member.state === "suspect");

/** Deaths further apart than this have nothing to do with each other. */
const DEATHS_WITHIN_MS = 120_000;
const HESITATION_MAX = 16;

export function died(member: Member, now: number): void {
  member.deaths = now - member.diedAt < DEATHS_WITHIN_MS ? member.deaths + 1 : 1;
  member.diedAt = now;
}

/** By how much longer than others it must be there before it counts as settled: twice as long with each repeated death. */
export const hesitation = (member: Member): number => Math.min(HESITATION_MAX, 2 ** Math.max(0, member.deaths - 1));

export function adoptProtocol(member: Member, protocol: ProtocolRange, ours: ProtocolRange): void {
  member.protocol = protocol;
  member.compatible = protocolsOverlap(protocol, ours);
}
