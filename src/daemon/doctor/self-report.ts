/** This machine's own report: the facts of machine and node judged, the status's conditions beside them, and a look at every other member. */
import { type Finding, runChecks } from "../../checks/check.js";
import { conditionEntries } from "../../checks/conditions.js";
import { isConditionCode } from "../../checks/catalogue.js";
import { homeChecks } from "../../checks/home-checks.js";
import { machineChecks } from "../../checks/machine-checks.js";
import type { LinkLook } from "../../checks/link-facts.js";
import type { RefusedCaller } from "../../checks/node-facts.js";
import { processChecks } from "../../checks/process-checks.js";
import type { Clock } from "../../core/clock.js";
import { packageVersion } from "../../core/package-info.js";
import type { Transport } from "../../core/transport.js";
import type { TlsMaterial } from "../../core/trust/trust.js";
import type { Config } from "../config/table.js";
import { loopbackOf } from "../facts.js";
import type { ConditionStatus, StatusSnapshot } from "../status.js";
import { type Peer, lookAtPeer, ownPace, paceUnknown } from "./links.js";
import { lookAtMachine } from "./machine-look.js";
import { lookAtNode } from "./node-look.js";
import type { MachineReport } from "./report.js";

export interface SelfReportOptions {
  readonly home: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly device: string;
  readonly nodeId: string;
  readonly systemService: boolean;
  readonly status: StatusSnapshot | undefined;
  readonly refused: readonly RefusedCaller[];
  readonly agentAnswers: boolean | undefined;
  readonly inAgent: boolean;
  readonly peers: readonly Peer[];
  /** Undefined: this home's trust cannot be used, so nobody can be called. */
  readonly identity: { readonly material: TlsMaterial; readonly transport: Transport } | undefined;
  readonly deep: boolean;
}

export async function selfReport(options: SelfReportOptions): Promise<MachineReport> {
  const { home, config, clock, device, status, identity } = options;
  const [machine, links] = await Promise.all([
    lookAtMachine({ home, config, systemService: options.systemService }),
    identity ? lookAtPeers(options, identity) : [],
  ]);
  const { look, digests } = await lookAtNode({
    home, config, clock, status, refused: options.refused, agentAnswers: options.agentAnswers, inAgent: options.inAgent,
    installed: packageVersion(), availableBytes: machine.memory.availableBytes, deep: options.deep,
  });
  const own = [...runChecks(processChecks, look), ...runChecks(homeChecks, look), ...runChecks(machineChecks, machine)];
  return {
    device, nodeId: options.nodeId, software: status?.node.version ?? packageVersion(), wallMs: clock.wallMs(), modelId: look.model?.id ?? config.model,
    leader: status?.leader?.device_id, digests, links,
    findings: [...own.map((finding) => ({ ...finding, device })), ...(status?.conditions ?? []).map(findingOf)],
  };
}

async function lookAtPeers({ device, nodeId, config, peers, inAgent }: SelfReportOptions, identity: NonNullable<SelfReportOptions["identity"]>): Promise<LinkLook[]> {
  // Alone first: together they would only measure each other.
  const own = inAgent && peers.length > 0 ? await ownPace(loopbackOf(config.grpc_host), config.agent_port, nodeId, identity) : paceUnknown;
  return Promise.all(peers.map((peer) => lookAtPeer(peer, { from: device, own, ...identity })));
}

/** A condition of the status as a finding: the same code, its meaning out of the catalogue. */
export function findingOf({ code, severity, message, remedy, device_id: device }: ConditionStatus): Finding {
  const entry = isConditionCode(code) ? conditionEntries[code] : undefined;
  return { code, severity, seen: message, meaning: entry?.meaning ?? "", remedy: remedy === "" ? entry?.remedy ?? "" : remedy, ...(device === undefined ? {} : { device }) };
}
