/**
 * The whole cluster examined from one machine: its own report, every other member's, and what only shows side by side. Run by the
 * agent, or by `minid doctor` where no agent answers. A member that cannot be asked is looked at from outside.
 */
import { type Finding, runChecks, severities } from "../../checks/check.js";
import type { MachineWord } from "../../checks/cluster-facts.js";
import { clusterChecks } from "../../checks/cluster-checks.js";
import { linkChecks } from "../../checks/link-checks.js";
import { dialTarget } from "../../core/dial.js";
import { toMinidError } from "../../core/errors.js";
import type { Transport } from "../../core/transport.js";
import { colleague } from "./examine-rpc.js";
import type { Peer } from "./links.js";
import type { MachineReport } from "./report.js";

export interface Examination {
  /** The machine that asked the others. */
  readonly device: string;
  readonly cluster: { readonly id: string; readonly name: string } | undefined;
  /** Who answered with a report, who did not. */
  readonly machines: readonly { readonly device: string; readonly reported: boolean }[];
  /** The worst first; at most one for each code and machine. */
  readonly findings: readonly Finding[];
}

export interface ExamineOptions {
  readonly self: Promise<MachineReport>;
  readonly peers: readonly Peer[];
  /** Devices of the records that nobody has met. */
  readonly unmet: readonly string[];
  readonly transport: Transport | undefined;
  readonly cluster: Examination["cluster"];
  readonly deep: boolean;
}

type Answer = { readonly peer: Peer } & ({ readonly report: MachineReport; readonly tookMs: number; readonly wallMs: number } | { readonly refusal: string });
/** The answer's way back is part of what its clock seems to be off by. */
const clockUncertainMsMax = 2_000;

export async function examineCluster({ self, peers, unmet, transport, cluster, deep }: ExamineOptions): Promise<Examination> {
  const [own, ...answers] = await Promise.all([self, ...(transport ? peers.map((peer) => ask(peer, transport, deep)) : [])]);
  const reports = [own, ...answers.flatMap((answer) => ("report" in answer ? [answer.report] : []))];
  const links = reports.flatMap((report) => report.links);
  const refusalOf = (device: string): string | undefined => answers.flatMap((answer) => ("refusal" in answer && answer.peer.device === device ? [answer.refusal] : []))[0];
  const leftOf = (device: string): boolean => peers.some((peer) => peer.device === device && peer.left);
  const linkFindings = links.flatMap((link) => runChecks(linkChecks, { link, reported: reports.some(({ device }) => device === link.to), refusal: refusalOf(link.to), left: leftOf(link.to) }).map((finding) => ({ ...finding, device: link.to })));
  const machines: MachineWord[] = [{ ...own, clockAheadMs: undefined, clockUncertainMs: 0 }, ...answers.flatMap((answer) => ("report" in answer
    ? [{ ...answer.report, clockAheadMs: answer.report.wallMs - answer.wallMs, clockUncertainMs: Math.min(answer.tookMs, clockUncertainMsMax) }] : []))];
  return {
    device: own.device, cluster,
    machines: [{ device: own.device, reported: true }, ...answers.map((answer) => ({ device: answer.peer.device, reported: "report" in answer }))],
    findings: merged([...reports.flatMap((report) => report.findings), ...linkFindings, ...runChecks(clusterChecks, { machines, links, unmet })]),
  };
}

async function ask(peer: Peer, transport: Transport, deep: boolean): Promise<Answer> {
  const other = colleague(dialTarget(peer.addresses), peer.nodeId, transport);
  try {
    return { peer, ...await other.examine(deep) };
  } catch (error) {
    return { peer, refusal: toMinidError(error).message };
  } finally { other.close(); }
}

/** One trouble seen from several sides is told once, by who knows it best: the first of the worst. */
export function merged(findings: readonly Finding[]): Finding[] {
  const byWorst = findings.toSorted((a, b) => severities.indexOf(b.severity) - severities.indexOf(a.severity));
  const told = new Set<string>();
  return byWorst.filter((finding) => {
    const { code, device, seen, severity } = finding;
    // Several ports, links or interfaces of one machine are several troubles; what is well need not be told one by one.
    const key = `${code} ${device ?? ""} ${severity !== "ok" && severalOfAKind.has(code) ? seen : ""}`;
    if (told.has(key)) return false;
    told.add(key);
    return true;
  });
}

const severalOfAKind: ReadonlySet<string> = new Set(["port_taken", "link_slow", "forgotten_still_trying", "two_clusters_one_name", "one_way_link", "mdns_deaf", "firewall"]);
