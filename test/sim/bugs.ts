/** Known bugs, planted from outside into the real cores, to prove that the simulation would find them. */
import { type Epoch, epochZero, millis } from "../../src/core/ids.js";
import { ClusterCore } from "../../src/daemon/cluster/cluster.js";
import type { ClusterEffect, ClusterInit, ClusterInput, ClusterMachine } from "../../src/daemon/cluster/contract.js";
import { type ClusterParts, clusterParts } from "../../src/daemon/cluster/state.js";
import { Planning, type PlanningInput, type PlanningResult } from "../../src/daemon/cluster/planning.js";
import { Election, type ElectionAction, type Electorate } from "../../src/daemon/election/election.js";
import { comparePreference } from "../../src/daemon/election/preference.js";
import type { Member, MemberRow } from "../../src/daemon/membership/member.js";
import { Membership } from "../../src/daemon/membership/membership.js";
import { SelfDoubt, type TickReport } from "../../src/daemon/membership/self-doubt.js";

export interface Bug {
  readonly core?: (init: ClusterInit) => ClusterMachine;
  /** The driver says `persisted` before the disk has it. */
  readonly persistedTooEarly?: boolean;
  readonly workerAcceptsOlder?: boolean;
  /** A worker computes steps of any plan with whatever stage it holds. */
  readonly stepsUnfenced?: boolean;
  /** A call after a fault draws other random numbers. */
  readonly resumeForgetsSeed?: boolean;
  /** A rank computes frames of whichever run of its plan. */
  readonly runsUnfenced?: boolean;
}

export const noBug: Bug = {};

const withParts = (parts: Partial<ClusterParts>): Bug => ({ core: (init) => new ClusterCore(init, { ...clusterParts, ...parts }) });

/** The core, with what goes in or comes out changed. */
function around(change: { readonly input?: (input: ClusterInput, core: ClusterMachine, now: number) => ClusterInput; readonly effects?: (effects: readonly ClusterEffect[]) => readonly ClusterEffect[] }): Bug {
  return {
    core: (init) => {
      const core = new ClusterCore(init);
      return {
        step: (input, now) => { const effects = core.step(change.input ? change.input(input, core, now) : input, now); return change.effects ? change.effects(effects) : effects; },
        view: (now) => core.view(now),
      };
    },
  };
}

const deafToClaims = (member: Member): Member => ({ ...member, leads: undefined });

/** A preferred node does not care who leads. */
class Fickle extends Election {
  readonly #self: Epoch["nodeId"];
  constructor(...args: ConstructorParameters<typeof Election>) { super(...args); this.#self = args[0]; }
  #blind(electorate: Electorate): Electorate {
    const self = { id: this.#self, facts: electorate.self };
    return { ...electorate, members: electorate.members.map((member) => (comparePreference(self, member, this.#self) < 0 ? deafToClaims(member) : member)) };
  }
  override evaluate(electorate: Electorate, now: number): readonly ElectionAction[] { return super.evaluate(this.#blind(electorate), now); }
  override persisted(epoch: Epoch, electorate: Electorate, now: number): readonly ElectionAction[] { return super.persisted(epoch, this.#blind(electorate), now); }
}

/** Once leader, always leader. */
class Stubborn extends Election {
  override evaluate(electorate: Electorate, now: number): readonly ElectionAction[] {
    return super.evaluate(this.leads ? { ...electorate, members: electorate.members.map(deafToClaims) } : electorate, now);
  }
}

/** Dead leaders are followed for ever. */
class Loyal extends Election {
  override evaluate(electorate: Electorate, now: number): readonly ElectionAction[] {
    return super.evaluate({ ...electorate, members: electorate.members.map((member) => (member.leads && member.state === "dead" ? { ...member, state: "suspect" } : member)) }, now);
  }
}

class Untroubled extends SelfDoubt {
  override tick(now: number, wallMs: number): TickReport {
    super.tick(now, wallMs);
    return { slipMs: 0, slept: false, clockJumpMs: 0 };
  }
  override get level(): number { return 0; }
}

/** Every life looks like the first: a restart is a blip, and new words are older than old ones. */
class AgelessMembership extends Membership {
  override heard(member: Member, _incarnation: number, seq: number, now: number): boolean { return super.heard(member, 1, seq, now); }
  override rumour(by: Member, row: MemberRow, now: number): boolean { return super.rumour(by, { ...row, incarnation: Math.min(row.incarnation, 1) }, now); }
}

/** Whoever is heard is taken to hear us. */
class OneWayMembership extends Membership {
  override heard(member: Member, incarnation: number, seq: number, now: number): boolean {
    const fresh = super.heard(member, incarnation, seq, now);
    if (fresh) this.proven(member, now, now);
    return fresh;
  }
}

/** Only what is heard directly counts. */
class LonelyMembership extends Membership {
  override rumour(_by: Member, _row: MemberRow, _now: number): boolean { return false; }
}

class LosesLastLayer extends Planning {
  override step(input: PlanningInput, now: number): PlanningResult {
    const result = super.step(input, now);
    if (result?.kind !== "plan" || result.plan.ranks.length < 2) return result;
    const ranks = result.plan.ranks.map((rank) => (rank.rank === 1 && rank.layers.end - rank.layers.first > 1 ? { ...rank, layers: { first: rank.layers.first + 1, end: rank.layers.end } } : rank));
    return { ...result, plan: { ...result.plan, ranks } };
  }
}

/** Plans with whoever was ever there. */
class PlansWithTheDead extends Planning {
  override step(input: PlanningInput, now: number): PlanningResult {
    return super.step({ ...input, members: input.members.map((member) => (member.state === "dead" ? { ...member, state: "alive" } : member)) }, now);
  }
}

export const bugs = {
  "epoch announced before fsync": { persistedTooEarly: true },
  "no sticky incumbent": withParts({ election: (...args) => new Fickle(...args) }),
  "a worker that accepts a lower epoch": { workerAcceptsOlder: true },
  "a detector that ignores incarnations": withParts({ membership: (...args) => new AgelessMembership(...args) }),
  "no self-doubt": withParts({ doubt: (...args) => new Untroubled(...args) }),
  "a leader that does not step down for a higher epoch": withParts({ election: (...args) => new Stubborn(...args) }),
  "a dead leader is followed for ever": withParts({ election: (...args) => new Loyal(...args) }),
  "epochs start from nothing after a restart": withParts({ election: (selfId, config, _highest, now) => new Election(selfId, config, epochZero, now) }),
  "one-way loss goes unnoticed": withParts({ membership: (...args) => new OneWayMembership(...args) }),
  "no word of others counts": withParts({ membership: (...args) => new LonelyMembership(...args) }),
  "a plan that loses a layer": withParts({ planning: (...args) => new LosesLastLayer(...args) }),
  "plans with dead machines": withParts({ planning: (...args) => new PlansWithTheDead(...args) }),
  "plans of any term are adopted": around({
    input: (input, core, now) => {
      if (input.kind !== "message" || input.message.type !== "plan") return input;
      const { epoch } = core.view(millis(now));
      return epoch ? { ...input, message: { ...input.message, plan: { ...input.message.plan, epoch } } } : input;
    },
  }),
  "everything said twelve times": around({ effects: (effects) => effects.flatMap((effect) => Array.from({ length: effect.kind === "send" ? 12 : 1 }, () => effect)) }),
} as const satisfies Record<string, Bug>;

/** Those that only show while answers stream. */
export const streamingBugs = {
  "steps of another plan or run are computed": { stepsUnfenced: true, runsUnfenced: true },
  "a resumed answer forgets its seed": { resumeForgetsSeed: true },
  "frames of an earlier run are computed": { runsUnfenced: true },
} as const satisfies Record<string, Bug>;
