/**
 * Who stands first when there is no leader. Everybody computes the same order from the same facts; where facts have not reached
 * everybody yet the orders may differ for a moment, and the waiting times between places (`Election`) keep that harmless.
 */
import type { NodeId } from "../../core/ids.js";
import type { NodeFacts } from "../membership/facts.js";

export interface Candidate {
  readonly id: NodeId;
  readonly facts: NodeFacts | undefined;
}

/** Can serve as rank 0: is staying, and has a worker that neither crashes over and over nor fails to load. */
export function eligible({ facts }: Candidate): boolean {
  return facts !== undefined && !facts.draining && !facts.aside && !facts.worker.crashLooping;
}

/**
 * Negative when `a` stands before `b`: the eligible first; then whoever led last (its stage is loaded: sticky over a restart of its
 * agent); then the configured preference; then the larger machine; then the id, so that it is never a tie.
 */
export function comparePreference(a: Candidate, b: Candidate, lastLeader: NodeId): number {
  return Number(eligible(b)) - Number(eligible(a))
    || Number(b.id === lastLeader) - Number(a.id === lastLeader)
    || (a.facts?.localRank ?? Infinity) - (b.facts?.localRank ?? Infinity) || (a.facts?.deviceIndex ?? Infinity) - (b.facts?.deviceIndex ?? Infinity)
    || (b.facts?.budgetBytes ?? 0) - (a.facts?.budgetBytes ?? 0)
    || (a.id < b.id ? -1 : 1);
}
