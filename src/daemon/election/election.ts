/**
 * Who leads. Available first: no majority is asked for, because two machines are the common case and the state is soft; instead every
 * term has an epoch (counter, node id) that is on disk before anyone hears of it, and workers refuse anything older (docs/adr/0006).
 *
 * Rules:
 *  - A live leader is followed, whoever would be preferred to it (sticky). Of several, the highest epoch; a leader that meets a
 *    higher one steps down.
 *  - Without one, candidates stand in order of preference, each place later by `staggerMs`, so that normally exactly one stands.
 *  - A leader that leaves, or whose worker crashes over and over, goes on until another has taken over.
 *  - A leader whose epoch a worker refuses as too old stands again with a higher one.
 *  - After start or wake a node listens first.
 */
import { type Epoch, type NodeId, compareEpochs, epochZero, sameEpoch } from "../../core/ids.js";
import type { NodeFacts } from "../membership/facts.js";
import { type Member, isLive } from "../membership/member.js";
import type { LeaderChangeCause } from "./cause.js";
import { type Candidate, comparePreference, eligible } from "./preference.js";

export interface ElectionConfig {
  readonly listenMs: number;
  /** Head start of each place over the next. */
  readonly staggerMs: number;
  /** How long a refusal by a worker is left to explain itself (its own leader may be about to be heard). */
  readonly fencedAfterMs: number;
}

export interface Electorate {
  readonly members: readonly Member[];
  readonly self: NodeFacts;
  /** Lifeguard's level: who doubts itself waits longer. */
  readonly doubt: number;
  /** Everybody known from before is here: there is nothing to wait for. */
  readonly complete: boolean;
}

export type ElectionAction =
  /** Put this epoch on disk, then call `persisted`. */
  | { readonly kind: "stand"; readonly epoch: Epoch; readonly cause: LeaderChangeCause }
  | { readonly kind: "lead"; readonly epoch: Epoch; readonly cause: LeaderChangeCause; readonly tookMs: number }
  | { readonly kind: "stepDown"; readonly epoch: Epoch; readonly cause: LeaderChangeCause }
  | { readonly kind: "follow"; readonly epoch: Epoch | undefined; readonly cause: LeaderChangeCause };

const nothing: readonly ElectionAction[] = Object.freeze([]);

export class Election {
  readonly #selfId: NodeId;
  readonly #config: ElectionConfig;
  /** Highest epoch known, from whatever source: a new one is higher. */
  #highest: Epoch;
  /** The term in force for this node. Its leader is `epoch.nodeId`. */
  #term: Epoch | undefined;
  #standing: { readonly epoch: Epoch; readonly cause: LeaderChangeCause; readonly since: number } | undefined;
  #listenUntil: number;
  /** Listening may end early when everybody known is here. */
  #mayHurry = true;
  #leaderlessSince: number;
  #cause: LeaderChangeCause = "no_leader";
  #handoverSince: number | undefined;
  #fencedSince: number | undefined;
  /** Stands first again: its worker still holds rank 0's stage. */
  #lastLeader: NodeId;

  constructor(selfId: NodeId, config: ElectionConfig, highest: Epoch, now: number) {
    this.#selfId = selfId;
    this.#config = config;
    this.#highest = highest;
    this.#lastLeader = highest.nodeId;
    this.#listenUntil = now + config.listenMs;
    this.#leaderlessSince = now;
  }

  get highest(): Epoch { return this.#highest; }
  get term(): Epoch | undefined { return this.#term; }
  get leads(): Epoch | undefined { return this.#term?.nodeId === this.#selfId ? this.#term : undefined; }
  get standing(): boolean { return this.#standing !== undefined; }
  listening(now: number): boolean { return now < this.#listenUntil; }

  observe(epoch: Epoch): void { if (compareEpochs(epoch, this.#highest) > 0) this.#highest = epoch; }

  /** Decides by what is known now. Cheap: to be called after every change and on every tick. */
  evaluate(electorate: Electorate, now: number): readonly ElectionAction[] {
    const best = bestClaim(electorate.members);
    if (best) this.observe(best);
    if (this.leads) return this.#asLeader(this.leads, best, electorate, now);
    const actions: ElectionAction[] = [];
    if (best) {
      this.#followBest(best, electorate, actions);
      this.#handover(best, electorate, now, actions);
    } else {
      this.#withoutLeader(electorate, now, actions);
    }
    return actions.length === 0 ? nothing : actions;
  }

  /** The epoch of `stand` is on disk. */
  persisted(epoch: Epoch, electorate: Electorate, now: number): readonly ElectionAction[] {
    const standing = this.#standing;
    if (!standing || !sameEpoch(standing.epoch, epoch)) return nothing;
    this.#standing = undefined;
    const best = bestClaim(electorate.members);
    const actions: ElectionAction[] = [];
    const leads = this.leads;
    const inTheWay = best !== undefined && (compareEpochs(best, epoch) > 0 || (leads === undefined && !this.#handsOver(best, electorate)));
    if (inTheWay) return this.evaluate(electorate, now);
    if (leads) actions.push({ kind: "stepDown", epoch: leads, cause: standing.cause });
    this.#enter(epoch);
    actions.push({ kind: "lead", epoch, cause: standing.cause, tookMs: now - standing.since });
    return actions;
  }

  /** The machine slept, or this node leaves: what it led it leads no more, and after sleep it listens first. */
  abdicate(cause: LeaderChangeCause, now: number): readonly ElectionAction[] {
    this.#standing = undefined;
    this.#listenUntil = now + this.#config.listenMs;
    this.#mayHurry = false;
    const leads = this.leads;
    if (!leads) return nothing;
    this.#lose(cause, now);
    return [{ kind: "stepDown", epoch: leads, cause }, { kind: "follow", epoch: undefined, cause }];
  }

  #asLeader(leads: Epoch, best: Epoch | undefined, electorate: Electorate, now: number): readonly ElectionAction[] {
    if (best && compareEpochs(best, leads) > 0) {
      this.#standing = undefined;
      this.#enter(best);
      return [{ kind: "stepDown", epoch: leads, cause: "higher_epoch" }, { kind: "follow", epoch: best, cause: "higher_epoch" }];
    }
    const accepted = highestAccepted(electorate);
    this.observe(accepted);
    if (compareEpochs(accepted, leads) <= 0) { this.#fencedSince = undefined; return nothing; }
    this.#fencedSince ??= now;
    if (this.#standing || now - this.#fencedSince < this.#config.fencedAfterMs) return nothing;
    const actions: ElectionAction[] = [];
    this.#stand("fenced", electorate, now, now, actions);
    return actions;
  }

  #followBest(best: Epoch, electorate: Electorate, actions: ElectionAction[]): void {
    const term = this.#term;
    if (term && sameEpoch(term, best)) return;
    // `best` is the highest live claim: were the present leader alive and claiming, a lower one could not be the best.
    const cause = term === undefined ? this.#cause : compareEpochs(best, term) > 0 ? "higher_epoch" : lossOf(term, electorate.members);
    if (this.#standing && !this.#handsOver(best, electorate)) this.#standing = undefined;
    this.#enter(best);
    actions.push({ kind: "follow", epoch: best, cause });
  }

  /** The leader is leaving or cannot work: the best of those who can takes over, while the leader carries on. */
  #handover(leader: Epoch, electorate: Electorate, now: number, actions: ElectionAction[]): void {
    const self: Candidate = { id: this.#selfId, facts: electorate.self };
    if (!this.#handsOver(leader, electorate) || !eligible(self)) { this.#handoverSince = undefined; return; }
    this.#handoverSince ??= now;
    if (this.#standing || now - this.#handoverSince < this.#place(electorate) * this.#config.staggerMs) return;
    const draining = electorate.members.find((member) => member.id === leader.nodeId)?.facts?.draining;
    this.#stand(draining ? "leader_draining" : "leader_worker_failed", electorate, this.#handoverSince, now, actions);
  }

  #withoutLeader(electorate: Electorate, now: number, actions: ElectionAction[]): void {
    if (this.#term) {
      const cause = lossOf(this.#term, electorate.members);
      this.#lose(cause, now);
      actions.push({ kind: "follow", epoch: undefined, cause });
    }
    if (this.#standing) return;
    const hurry = this.#mayHurry && electorate.complete;
    if (this.listening(now) && !hurry) return;
    const since = hurry ? this.#leaderlessSince : Math.max(this.#leaderlessSince, this.#listenUntil);
    if (now - since < this.#place(electorate) * this.#config.staggerMs * (1 + electorate.doubt)) return;
    this.#stand(this.#cause, electorate, since, now, actions);
  }

  #stand(cause: LeaderChangeCause, electorate: Electorate, since: number, now: number, actions: ElectionAction[]): void {
    this.observe(highestAccepted(electorate));
    const epoch: Epoch = { counter: this.#highest.counter + 1, nodeId: this.#selfId };
    this.#highest = epoch;
    this.#standing = { epoch, cause, since: Math.min(since, now) };
    actions.push({ kind: "stand", epoch, cause });
  }

  #enter(term: Epoch): void {
    this.#term = term;
    this.#lastLeader = term.nodeId;
    this.#handoverSince = undefined;
    this.#fencedSince = undefined;
  }

  #lose(cause: LeaderChangeCause, now: number): void {
    this.#term = undefined;
    this.#cause = cause;
    this.#leaderlessSince = now;
    this.#handoverSince = undefined;
    this.#fencedSince = undefined;
  }

  #handsOver(leader: Epoch, electorate: Electorate): boolean {
    const member = electorate.members.find((other) => other.id === leader.nodeId);
    return member?.facts !== undefined && !eligible(member);
  }

  /** 0 for who should stand first. Suspects are left out of the order: they may be as dead as the leader. */
  #place(electorate: Electorate): number {
    const self: Candidate = { id: this.#selfId, facts: electorate.self };
    let place = 0;
    for (const member of electorate.members) {
      if (member.compatible && member.state === "alive" && comparePreference(member, self, this.#lastLeader) < 0) place += 1;
    }
    return place;
  }
}

/** The highest term that a live member claims to lead. */
function bestClaim(members: readonly Member[]): Epoch | undefined {
  let best: Epoch | undefined;
  for (const member of members) {
    if (member.leads && isLive(member) && (!best || compareEpochs(member.leads, best) > 0)) best = member.leads;
  }
  return best;
}

function highestAccepted(electorate: Electorate): Epoch {
  let highest = electorate.self.worker.acceptedEpoch;
  for (const member of electorate.members) {
    const accepted = member.facts?.worker.acceptedEpoch ?? epochZero;
    if (isLive(member) && compareEpochs(accepted, highest) > 0) highest = accepted;
  }
  return highest;
}

/** Why the leader of a term is not its leader any more. */
function lossOf(term: Epoch, members: readonly Member[]): LeaderChangeCause {
  const leader = members.find((member) => member.id === term.nodeId);
  if (!leader || leader.state === "dead" || leader.state === "introduced") return "leader_dead";
  if (leader.state === "left") return "leader_left";
  return leader.restarted ? "leader_restarted" : "leader_resigned";
}
