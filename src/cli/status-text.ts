/** The status as a person reads it: who leads, the ring with its layers and loads, how fast it goes, what is wrong, what happened last. Pure. */
import type { DeviceStatus, StatusSnapshot } from "../daemon/status.js";

const eventsShown = 5;

export function renderStatus(status: StatusSnapshot): string {
  const { cluster, epoch, leader, model, conditions, devices } = status;
  return [
    `cluster ${cluster.name} (${cluster.id.slice(0, 8)}), ${epoch ? `epoch ${epoch.counter}` : "no epoch"}, rank 0 is ${leader?.device_id ?? "nobody"}`,
    `model ${model.id} (${model.numerics}), world size ${status.world_size}: ${status.ready ? "serving" : status.reasons.map((reason) => reason.message).join("; ")}`,
    "",
    ...table([["rank", "device", "status", "layers", "worker", "busy", "memory", "restarts", "heard"], ...devices.map(row)]),
    ...rates(status),
    ...(conditions.length > 0 ? ["", ...conditions.map((condition) => `${condition.severity} ${condition.code}: ${condition.message}${condition.remedy === "" ? "" : ` (${condition.remedy})`}`)] : []),
    ...(status.events.length > 0 ? ["", ...status.events.slice(-eventsShown).map((event) => `${new Date(event.at_ms).toTimeString().slice(0, 8)}  ${event.text}${event.took_ms === null ? "" : `, after ${seconds(event.took_ms)}`}${event.count > 1 ? ` (${event.count} times)` : ""}`)] : []),
  ].join("\n");
}

const row = (device: DeviceStatus): string[] => [
  device.rank === null ? "-" : String(device.rank),
  device.self ? `${device.device_id} *` : device.device_id,
  device.status,
  device.layers ? `${device.layers[0]}-${device.layers[1] - 1}` : "-",
  device.worker ? `${device.worker.phase} (pid ${device.worker.pid ?? "-"})` : "-",
  device.load ? `${Math.round(100 * device.load.busy_ratio)} %` : "-",
  device.load ? `${(device.load.rss_bytes / 2 ** 30).toFixed(2)} GiB` : "-",
  String(device.worker?.restarts ?? 0),
  device.self ? "here" : `${seconds(device.agent.last_heard_ms)} ago`,
];

function rates({ live, inference }: StatusSnapshot): string[] {
  const ms = (value: number | null): string => (value === null ? "-" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
  return [
    ...(live ? ["",
      `${live.requests_running} running, ${live.requests_waiting} waiting; ${live.tokens_per_second.toFixed(1)} tokens/s, prompts ${live.prefill_tokens_per_second.toFixed(0)} tokens/s`,
      `step ${ms(live.step_ms)}, hop ${ms(live.hop_ms)}; first token ${ms(live.first_token_ms)}, then ${ms(live.inter_token_ms)} a token; cache ${Math.round(100 * live.kv_use_ratio)} % used`] : []),
    ...(inference ? [`${inference.kvTokens.reserved} of ${inference.kvTokens.max} cache tokens promised`] : []),
  ];
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd());
}
