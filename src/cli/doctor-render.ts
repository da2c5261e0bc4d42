/** What `minid doctor` prints: the worst first, each with what it means and what to do; what follows from another finding in one line below. Pure. */
import { followsFrom } from "../checks/catalogue.js";
import { type Finding, renderFinding } from "../checks/check.js";
import type { Examination } from "../daemon/doctor/examine.js";
import type { Fixed } from "./doctor-fix.js";

export interface RenderOptions {
  /** What is well too. */
  readonly all: boolean;
  readonly fixed: readonly Fixed[];
}

export function renderExamination({ device, cluster, machines, findings }: Examination, { all, fixed }: RenderOptions): string {
  const troubles = findings.filter(({ severity }) => severity !== "ok");
  const causes = troubles.filter((finding) => causeOf(finding, troubles) === undefined);
  const silent = machines.filter(({ reported }) => !reported).map((machine) => machine.device);
  const count = (severity: Finding["severity"]): number => findings.filter((finding) => finding.severity === severity).length;
  return [
    `${cluster ? `cluster ${cluster.name} (${cluster.id.slice(0, 8)})` : "no cluster"}, asked from ${device}: ${machines.length - silent.length} of ${machines.length} machines reported${silent.length > 0 ? `; not: ${silent.join(", ")}` : ""}`,
    ...fixed.map(({ code, done, what }) => `${done ? "fixed   " : "NOT fixed"} ${code}: ${what}`),
    "",
    ...causes.flatMap((finding) => [renderFinding(finding), ...consequences(finding, troubles)]),
    ...(all ? findings.filter(({ severity }) => severity === "ok").map(renderFinding) : []),
    ...(troubles.length > 0 || all ? [""] : []),
    `${count("error")} errors, ${count("warning")} warnings, ${count("info")} notes; ${count("ok")} looks found nothing wrong`,
  ].join("\n");
}

function consequences(cause: Finding, troubles: readonly Finding[]): string[] {
  const following = troubles.filter((finding) => causeOf(finding, troubles) === cause);
  return following.map(({ code, seen, device }) => `         hence ${code}${device === undefined ? "" : ` (${device})`}: ${seen}`);
}

/** The finding that this one follows from, if there is one: of the same machine, or where either is about the whole cluster. Causes have none themselves. */
export function causeOf(finding: Finding, troubles: readonly Finding[]): Finding | undefined {
  const causes = followsFrom[finding.code] ?? [];
  const found = troubles.find((other) => other !== finding && causes.includes(other.code) && (other.device === finding.device || other.device === undefined || finding.device === undefined));
  return found === undefined ? undefined : causeOf(found, troubles.filter((other) => other !== finding)) ?? found;
}
