/**
 * Every code there is, once: what `minid status`, `minid install --check` and `minid doctor` can say. docs/OPERATIONS.md has an
 * entry for each of them, and a test sees to it. Several checks may share a code: they see one trouble from several sides.
 */
import { clusterChecks } from "./cluster-checks.js";
import { type ConditionCode, conditionEntries } from "./conditions.js";
import { homeChecks } from "./home-checks.js";
import { linkChecks } from "./link-checks.js";
import { machineChecks } from "./machine-checks.js";
import { processChecks } from "./process-checks.js";

export interface CatalogueEntry {
  readonly code: string;
  readonly title: string;
  readonly meaning: string;
  readonly remedy: string;
}

const entries: readonly CatalogueEntry[] = [
  ...Object.entries(conditionEntries).map(([code, entry]) => ({ code, ...entry })),
  ...processChecks, ...homeChecks, ...machineChecks, ...linkChecks, ...clusterChecks,
];

/** By code; where checks share one, the first speaks for it. */
export const catalogue: ReadonlyMap<string, CatalogueEntry> = entries.reduce((all, { code, title, meaning, remedy }) => (all.has(code) ? all : all.set(code, { code, title, meaning, remedy })), new Map<string, CatalogueEntry>());

export const isConditionCode = (code: string): code is ConditionCode => Object.hasOwn(conditionEntries, code);

/**
 * What a finding follows from: where one of those is found too, it is the cause, and this one is told in a line below it.
 * A machine that is down shows as silence, as a broken link and as a stage that is missing.
 */
export const followsFrom: Readonly<Record<string, readonly string[]>> = {
  member_dead: ["agent_down", "agent_hung", "machine_unreachable", "port_blocked", "agent_crash_loop", "refused_by_member", "one_way_link"],
  member_suspect: ["agent_down", "agent_hung", "machine_unreachable", "port_blocked", "agent_crash_loop", "one_way_link"],
  link_broken: ["port_blocked", "one_way_link", "agent_hung"],
  agent_down: ["agent_crash_loop", "config_invalid", "state_damaged", "trust_damaged", "home_unusable", "port_taken", "node_version"],
  agent_crash_loop: ["config_invalid", "state_damaged", "trust_damaged", "home_unusable", "port_taken", "model_missing", "model_corrupt"],
  worker_crash_loop: ["worker_down", "port_taken", "trust_damaged", "home_unusable"],
  worker_down: ["port_taken", "trust_damaged"],
  worker_unhealthy: ["worker_down", "worker_hung", "worker_crash_loop", "model_missing", "model_corrupt", "port_taken"],
  stage_not_loaded: ["worker_down", "worker_hung", "worker_crash_loop", "worker_unhealthy", "model_missing", "model_corrupt", "port_taken", "port_blocked"],
  left_out: ["worker_down", "worker_crash_loop", "port_blocked", "one_way_link"],
  model_does_not_fit: ["member_dead", "agent_down", "machine_unreachable"],
};
