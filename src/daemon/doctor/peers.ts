/** Members whom nobody need have met since the start: those that the home's records know. */
import type { Trust } from "../../core/trust/trust.js";
import { readClusterRecord } from "../cluster/driver.js";
import type { Config } from "../config/table.js";
import type { Peer } from "./links.js";

/** From the cluster record; empty when that is damaged or missing. Only members that are not forgotten. */
export async function rememberedPeers(home: string, trust: Trust, config: Config): Promise<Peer[]> {
  const record = await readClusterRecord(home).catch(() => undefined);
  const members = new Set<string>(trust.records.members().map((member) => member.nodeId));
  return (record?.peers ?? []).filter(({ nodeId, addresses }) => members.has(nodeId) && nodeId !== trust.nodeId && addresses.length > 0).map(({ nodeId, deviceId, addresses }) => ({
    nodeId, device: deviceId, addresses, left: false,
    // The record does not tell. Where agents use the same port, workers do.
    workerPort: config.devices.find((device) => device.device_id === deviceId)?.port ?? (addresses[0]?.endsWith(`:${config.agent_port}`) ? config.worker_port : undefined),
  }));
}

/** Names of members of which no address is known. */
export function unmetOf(trust: Trust, peers: readonly Peer[]): string[] {
  const known = new Set<string>(peers.map((peer) => peer.nodeId));
  return [...new Set(trust.records.members().filter((member) => member.nodeId !== trust.nodeId && !known.has(member.nodeId)).map((member) => member.deviceId))];
}
