/** The snapshot that status, health, metrics and routing read, made from the core's state on demand. */
import { type Epoch, type NodeId, epochText, millis } from "../../core/ids.js";
import type { NodeFacts } from "../membership/facts.js";
import { type Member, isLive } from "../membership/member.js";
import type { Plan } from "../planner/plan.js";
import { conditionsOf } from "./conditions.js";
import type { ClusterConfig, ClusterIdentity, ClusterView, Destination, MemberView } from "./contract.js";
import type { Foreigner } from "./foreigners.js";

export interface ViewInput {
  readonly identity: ClusterIdentity;
  readonly incarnation: number;
  readonly config: ClusterConfig;
  readonly facts: NodeFacts;
  readonly members: readonly Member[];
  readonly destination: (member: Member) => Destination;
  readonly term: Epoch | undefined;
  readonly standing: boolean;
  readonly plan: Plan | undefined;
  /** Why the leader has no plan. */
  readonly planless: string | undefined;
  /** Name of the leader, when the link to it is broken: then this node's front door cannot serve. */
  readonly leaderUnreachable: string | undefined;
  /** Why the plan cannot compute. */
  readonly missing: readonly string[];
  readonly doubt: number;
  readonly foreign: readonly Foreigner[];
  readonly now: number;
}

export function buildView(input: ViewInput): ClusterView {
  const { identity, facts, members, term, plan, now } = input;
  const others = members.map((member) => memberView(member, input)).sort((a, b) => order(a, b));
  const self: MemberView = {
    nodeId: identity.nodeId, self: true, state: "alive", since: millis(0), cause: "this node", incarnation: input.incarnation, ageMs: 0, direct: true, facts,
    agentAddresses: facts.addresses.map((address) => `${address}:${facts.agentPort}`), rank: rankOf(plan, identity.nodeId),
  };
  const notReady = reasons(input);
  const ready = notReady.length === 0;
  const leads = term?.nodeId === identity.nodeId;
  const alone = !members.some((member) => isLive(member) && !member.facts?.draining);
  return {
    identity, incarnation: input.incarnation, members: [self, ...others],
    role: leads ? "leader" : term ? "follower" : input.standing ? "candidate" : "listening",
    leader: term?.nodeId, epoch: term, plan, rank: self.rank, ready, notReady,
    conditions: conditionsOf(input, others, now),
    draining: facts.draining, drained: facts.draining && (alone || (!leads && ready && self.rank === undefined)),
    selfDoubt: input.doubt, foreignClusters: input.foreign,
  };
}

function reasons({ term, plan, planless, missing, leaderUnreachable }: ViewInput): readonly string[] {
  if (!term) return ["no leader: an election takes seconds"];
  if (plan) return leaderUnreachable === undefined ? missing : [`${leaderUnreachable} leads, but cannot be reached from here; other machines serve`, ...missing];
  return [planless ?? `the leader has made no plan under epoch ${epochText(term)} yet`];
}

function memberView(member: Member, { plan, destination, config, now }: ViewInput): MemberView {
  return {
    nodeId: member.id, self: false, state: member.compatible || !alive(member) ? member.state : "incompatible", since: millis(member.since), cause: member.cause,
    incarnation: member.incarnation, ageMs: Math.max(0, now - member.evidenceAt), direct: now - member.directAt <= config.deadAfterMs, facts: member.facts,
    agentAddresses: destination(member).addresses, rank: rankOf(plan, member.id),
  };
}

const alive = (member: Member): boolean => member.state === "alive" || member.state === "suspect";
const rankOf = (plan: Plan | undefined, id: NodeId): number | undefined => plan?.ranks.find((rank) => rank.nodeId === id)?.rank;

function order(a: MemberView, b: MemberView): number {
  const nameA = a.facts?.deviceId ?? a.nodeId;
  const nameB = b.facts?.deviceId ?? b.nodeId;
  return nameA < nameB ? -1 : nameA > nameB ? 1 : a.nodeId < b.nodeId ? -1 : 1;
}
