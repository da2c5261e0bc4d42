/** What a person should know about the cluster, each with a code, how bad it is, and what to do. */
import type { Condition, MemberView } from "./contract.js";
import type { ViewInput } from "./view.js";

/** Clocks that disagree by more than this make certificates and logs confusing. */
const CLOCK_SKEW_MS = 60_000;

export function conditionsOf(input: ViewInput, others: readonly MemberView[], now: number): readonly Condition[] {
  const found: Condition[] = [];
  const { term, plan, planless, facts, foreign, doubt, members, missing } = input;
  if (!term) found.push({ code: "no_leader", severity: "error", text: "no machine leads", remedy: "" });
  if (term && !plan && planless !== undefined) {
    found.push(planless.startsWith("no model") ? { code: "no_model", severity: "error", text: planless, remedy: "configure a model, or start with --model" }
      : { code: "model_does_not_fit", severity: "error", text: planless, remedy: "bring a machine back, add one, or configure a smaller model" });
  }
  if (plan) for (const text of missing) found.push({ code: "stage_not_loaded", severity: "error", text, remedy: "" });
  if (others.length === 0) found.push({ code: "no_peers", severity: "info", text: "no other machine has been met", remedy: "start minid on another machine and join it with the token that `minid token` prints" });
  for (const member of others) found.push(...memberConditions(member, input, now));
  for (const member of members) {
    if (Math.abs(member.clockSkewMs) > CLOCK_SKEW_MS) found.push({ code: "clock_skew", severity: "warning", nodeId: member.id, text: `the clock of ${nameOf(member)} is ${Math.round(Math.abs(member.clockSkewMs) / 1_000)} s ${member.clockSkewMs > 0 ? "ahead of" : "behind"} this one`, remedy: "set both clocks by NTP" });
  }
  if (facts.worker.crashLooping) found.push({ code: "worker_crash_loop", severity: "error", nodeId: input.identity.nodeId, text: `this machine's worker keeps crashing${facts.worker.error === "" ? "" : `: ${facts.worker.error}`}`, remedy: "see logs/worker.log" });
  for (const other of foreign) {
    found.push({ code: "two_clusters_one_name", severity: "warning", text: `another cluster is called ${input.identity.clusterName} too (${other.clusterId.slice(0, 8)}${other.address === "" ? "" : ` at ${other.address}`})`, remedy: "join its machines with this cluster's token, or give one of the two another name" });
  }
  if (doubt > 0) found.push({ code: "self_doubt", severity: "warning", text: `this machine is running late and gives the others ${1 + doubt} times as long`, remedy: "look for what keeps the processor busy" });
  if (facts.draining) found.push({ code: "draining", severity: "info", nodeId: input.identity.nodeId, text: "this machine is leaving", remedy: "" });
  found.push(...mixedEngines(input));
  return found;
}

function memberConditions(member: MemberView, { plan, facts, config }: ViewInput, now: number): readonly Condition[] {
  const name = member.facts?.deviceId ?? member.nodeId.slice(0, 8);
  const { nodeId } = member;
  const seconds = Math.round(member.ageMs / 1_000);
  switch (member.state) {
    case "dead": return [{ code: "member_dead", severity: "warning", nodeId, text: `${name} is gone for ${seconds} s: ${member.cause}`, remedy: `start it again, or remove it with \`minid forget ${name}\`` }];
    case "suspect": return [{ code: "member_suspect", severity: "info", nodeId, text: `${name} has not been heard for ${seconds} s: ${member.cause}`, remedy: "" }];
    case "incompatible": return [{ code: "protocol_mismatch", severity: "error", nodeId, text: `${name} runs ${member.facts?.software ?? "a version"} whose protocol this one does not speak`, remedy: "install the same version of minid on both" }];
    case "introduced": case "left": return [];
    default:
  }
  const found: Condition[] = [];
  const worker = member.facts?.worker;
  if (worker?.crashLooping) found.push({ code: "worker_crash_loop", severity: "warning", nodeId, text: `the worker of ${name} keeps crashing${worker.error === "" ? "" : `: ${worker.error}`}`, remedy: `see logs/worker.log on ${name}` });
  else if (worker && !worker.healthy) found.push({ code: "worker_unhealthy", severity: "warning", nodeId, text: `the worker of ${name} is not healthy${worker.error === "" ? "" : `: ${worker.error}`}`, remedy: "" });
  if (facts.unheard.includes(nodeId)) found.push({ code: "link_broken", severity: "warning", nodeId, text: `${name} is alive but cannot be reached from here`, remedy: "check the network between the two machines" });
  const settled = now - member.since > 10 * config.settleMs;
  if (plan && settled && member.facts && !member.facts.draining && worker?.healthy && member.rank === undefined) {
    found.push({ code: "left_out", severity: "info", nodeId, text: `${name} holds no stage of the present plan`, remedy: "" });
  }
  return found;
}

/** Answers that continue on another machine are bit-identical only where engine and processor are the same. */
function mixedEngines({ plan, facts, members, identity }: ViewInput): readonly Condition[] {
  const kinds = new Set((plan?.ranks ?? []).flatMap(({ nodeId }) => {
    const of = nodeId === identity.nodeId ? facts : members.find((member) => member.id === nodeId)?.facts;
    return of ? [`${of.engine} on ${of.platform}`] : [];
  }));
  if (kinds.size <= 1) return [];
  return [{ code: "mixed_engines", severity: "info", text: `the ring mixes ${[...kinds].sort().join(" and ")}: an answer resumed after a fault goes on from exactly the tokens already sent, but not bit for bit as it would have`, remedy: "" }];
}

const nameOf = (member: { readonly id: string; readonly facts: { readonly deviceId: string } | undefined }): string => member.facts?.deviceId ?? member.id.slice(0, 8);
