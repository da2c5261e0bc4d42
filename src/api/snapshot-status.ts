/** The front door's `StatusSource` over the agent's one status snapshot. */
import type { StatusSnapshot } from "../daemon/status.js";
import { metricsTargets } from "./metrics-targets.js";
import type { ClusterInfo, DeviceSummary, Health, StatusSource } from "./status-source.js";

/** @param snapshot the newest one, from memory. @param metrics the text of the process's metrics registry. */
export function snapshotStatusSource(snapshot: () => StatusSnapshot, metrics: StatusSource["metrics"]): StatusSource {
  return {
    health: () => health(snapshot()),
    clusterInfo: () => clusterInfo(snapshot()),
    devices: () => devices(snapshot()),
    status: snapshot,
    plan: () => snapshot().plan ?? undefined,
    metricsTargets: (askedAt) => metricsTargets(snapshot(), askedAt),
    metrics,
  };
}

function health(status: StatusSnapshot): Health {
  return {
    ready: status.ready && !status.draining,
    reasons: status.draining ? [{ code: "draining", message: "this node is leaving" }, ...status.reasons] : status.reasons,
  };
}

function clusterInfo(status: StatusSnapshot): ClusterInfo {
  const members = status.devices.filter((device) => device.status !== "left");
  return {
    totalDevices: members.length,
    healthyDevices: members.filter((device) => device.status === "healthy").length,
    worldSize: status.world_size,
    grpcActive: status.ready,
  };
}

function devices(status: StatusSnapshot): DeviceSummary[] {
  return status.devices.filter((device) => device.status !== "left").map((device) => ({
    deviceId: device.device_id,
    rank: device.rank,
    role: device.role,
    hostname: device.hostname,
    status: device.status,
    extra: { node_id: device.node_id, layers: device.layers, platform: device.platform, engine: device.worker?.engine ?? "", cores: device.cores, memory_bytes: device.memory_bytes },
  }));
}
