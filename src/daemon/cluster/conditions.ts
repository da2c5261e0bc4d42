/** What a person should know about the cluster: each has a code of the catalogue (checks/conditions.ts), how bad it is here, and what was seen. */
import { type ConditionCode, conditionEntries } from "../../checks/conditions.js";
import type { NodeId } from "../../core/ids.js";
import type { Condition, MemberView } from "./contract.js";
import type { ViewInput } from "./view.js";

/** Clocks that disagree by more than this make certificates and logs confusing. */
const CLOCK_SKEW_MS = 60_000;

/** @param remedy where this case has a better one than the code. */
function condition(code: ConditionCode, severity: Condition["severity"], text: string, about: { readonly nodeId?: NodeId; readonly remedy?: string } = {}): Condition {
  const { nodeId, remedy = conditionEntries[code].remedy } = about;
  return { code, severity, text, remedy, ...(nodeId === undefined ? {} : { nodeId }) };
}

export function conditionsOf(input: ViewInput, others: readonly MemberView[], now: number): readonly Condition[] {
  const found: Condition[] = [];
  const { term, plan, planless, facts, foreign, doubt, members, missing } = input;
  const self = { nodeId: input.identity.nodeId };
  if (!term) found.push(condition("no_leader", "error", "no machine leads"));
  if (term && !plan && planless !== undefined) found.push(condition(planless.startsWith("no model") ? "no_model" : "model_does_not_fit", "error", planless));
  if (plan) for (const text of missing) found.push(condition("stage_not_loaded", "error", text));
  if (others.length === 0) found.push(condition("no_peers", "info", "no other machine has been met"));
  for (const member of others) found.push(...memberConditions(member, input, now));
  for (const member of members) {
    if (Math.abs(member.clockSkewMs) > CLOCK_SKEW_MS) found.push(condition("clock_skew", "warning", `the clock of ${nameOf(member)} is ${Math.round(Math.abs(member.clockSkewMs) / 1_000)} s ${member.clockSkewMs > 0 ? "ahead of" : "behind"} this one`, { nodeId: member.id }));
  }
  if (facts.worker.crashLooping) found.push(condition("worker_crash_loop", "error", `this machine's worker keeps crashing${facts.worker.error === "" ? "" : `: ${facts.worker.error}`}`, self));
  for (const other of foreign) found.push(condition("two_clusters_one_name", "warning", `another cluster is called ${input.identity.clusterName} too (${other.clusterId.slice(0, 8)}${other.address === "" ? "" : ` at ${other.address}`})`));
  if (doubt > 0) found.push(condition("self_doubt", "warning", `this machine is running late and gives the others ${1 + doubt} times as long`));
  if (facts.draining) found.push(condition("draining", "info", "this machine is leaving", self));
  found.push(...mixedEngines(input));
  return found;
}

function memberConditions(member: MemberView, { plan, facts, config }: ViewInput, now: number): readonly Condition[] {
  const name = member.facts?.deviceId ?? member.nodeId.slice(0, 8);
  const { nodeId } = member;
  const seconds = Math.round(member.ageMs / 1_000);
  switch (member.state) {
    case "dead": return [condition("member_dead", "warning", `${name} is gone for ${seconds} s: ${member.cause}`, { nodeId, remedy: `start it again, or remove it with \`minid forget ${name}\`` })];
    case "suspect": return [condition("member_suspect", "info", `${name} has not been heard for ${seconds} s: ${member.cause}`, { nodeId })];
    case "incompatible": return [condition("protocol_mismatch", "error", `${name} runs ${member.facts?.software ?? "a version"} whose protocol this one does not speak`, { nodeId })];
    case "introduced": case "left": return [];
    default:
  }
  const found: Condition[] = [];
  const worker = member.facts?.worker;
  if (worker?.crashLooping) found.push(condition("worker_crash_loop", "warning", `the worker of ${name} keeps crashing${worker.error === "" ? "" : `: ${worker.error}`}`, { nodeId, remedy: `see logs/worker.log on ${name}` }));
  else if (worker && !worker.healthy) found.push(condition("worker_unhealthy", "warning", `the worker of ${name} is not healthy${worker.error === "" ? "" : `: ${worker.error}`}`, { nodeId }));
  if (facts.unheard.includes(nodeId)) found.push(condition("link_broken", "warning", `${name} is alive but cannot be reached from here`, { nodeId }));
  const settled = now - member.since > 10 * config.settleMs;
  if (plan && settled && member.facts && !member.facts.draining && worker?.healthy && member.rank === undefined) found.push(condition("left_out", "info", `${name} holds no stage of the present plan`, { nodeId }));
  return found;
}

/** Answers that continue on another machine are bit-identical only where engine and processor are the same. */
function mixedEngines({ plan, facts, members, identity }: ViewInput): readonly Condition[] {
  const kinds = new Set((plan?.ranks ?? []).flatMap(({ nodeId }) => {
    const of = nodeId === identity.nodeId ? facts : members.find((member) => member.id === nodeId)?.facts;
    return of ? [`${of.engine} on ${of.platform}`] : [];
  }));
  if (kinds.size <= 1) return [];
  return [condition("mixed_engines", "info", `the ring mixes ${[...kinds].sort().join(" and ")}: an answer resumed after a fault goes on from exactly the tokens already sent, but not bit for bit as it would have`)];
}

const nameOf = (member: { readonly id: string; readonly facts: { readonly deviceId: string } | undefined }): string => member.facts?.deviceId ?? member.id.slice(0, 8);
