/** `minid status`: the ring, as any node of the cluster sees it. Exit code 1 when a request would not be served now. */
import { defineCommand } from "citty";
import type { DeviceStatus, StatusSnapshot } from "../daemon/status.js";
import { homeArgs, jsonArgs, refuseUnknownFlags } from "./common.js";
import { NodeClient, nodeArgs } from "./node-client.js";

export const statusCommand = defineCommand({
  meta: { name: "status", description: "Show the cluster: ring, ranks, layers, health" },
  args: { ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...homeArgs, ...nodeArgs, ...jsonArgs });
    const status = await NodeClient.fromArgs(args).json("GET", "/distributed/status") as StatusSnapshot;
    console.log(args.json ? JSON.stringify(status) : render(status));
    return status.ready ? 0 : 1;
  },
});

function render(status: StatusSnapshot): string {
  const epoch = status.epoch ? `epoch ${status.epoch.counter}` : "no epoch";
  const lines = [
    `cluster ${status.cluster.name} (${status.cluster.id.slice(0, 8)}), ${epoch}, rank 0 is ${status.leader?.device_id ?? "nobody"}`,
    `model ${status.model.id} (${status.model.numerics}), world size ${status.world_size}: ${status.ready ? "serving" : status.reasons.map((reason) => reason.message).join("; ")}`,
    "",
    ...table([["rank", "device", "status", "layers", "worker", "restarts", "heard"], ...status.devices.map(row)]),
  ];
  if (status.inference) lines.push("", `${status.inference.running} running, ${status.inference.queued} waiting, ${status.inference.kvTokens.reserved} of ${status.inference.kvTokens.max} cache tokens promised`);
  if (status.conditions.length > 0) lines.push("", ...status.conditions.map((condition) => `${condition.severity} ${condition.code}: ${condition.message}${condition.remedy === "" ? "" : ` (${condition.remedy})`}`));
  return lines.join("\n");
}

const row = (device: DeviceStatus): string[] => [
  device.rank === null ? "-" : String(device.rank),
  device.self ? `${device.device_id} *` : device.device_id,
  device.status,
  device.layers ? `${device.layers[0]}-${device.layers[1] - 1}` : "-",
  device.worker ? `${device.worker.phase} (pid ${device.worker.pid ?? "-"})` : "-",
  String(device.worker?.restarts ?? 0),
  device.self ? "here" : `${(device.agent.last_heard_ms / 1_000).toFixed(1)} s ago`,
];

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd());
}
