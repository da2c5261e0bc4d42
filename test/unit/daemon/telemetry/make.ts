/** Plain snapshots for tests of what is made out of them. */
import type { ProbeReply } from "../../../../src/core/worker-protocol.js";
import { computeSecondsBounds } from "../../../../src/core/worker-protocol.js";
import type { SchedulerSnapshot } from "../../../../src/daemon/inference/scheduler-types.js";
import type { DeviceStatus, StatusSnapshot } from "../../../../src/daemon/status.js";

export const device = (name: string, own: Partial<DeviceStatus> = {}): DeviceStatus => ({
  device_id: name, node_id: `${name}-id`, rank: 0, role: "worker", status: "healthy", hostname: "localhost", addresses: ["127.0.0.1:50050"], self: false, layers: [0, 15],
  agent: { pid: 1, incarnation: 1, version: "0.1.0", http_port: 8100, last_heard_ms: 0 },
  worker: { pid: 2, incarnation: "w", phase: "idle", restarts: 0, healthy: true, error: "", engine: "onnx", accepted_epoch: { counter: 1, node_id: "a" } },
  platform: "linux x64", cores: 2, memory_bytes: 1 << 30, load: null, door: null, ...own,
});

export const scheduler: SchedulerSnapshot = {
  ready: true, queued: 3, running: 2, stepsInFlight: 1, slots: { active: 2, cached: 1, total: 16 }, kvTokens: { reserved: 50, cached: 20, max: 200 },
  totals: { steps: 10, prefillTokens: 100, decodedTokens: 40, cachedTokens: 60, replayedTokens: 5, preemptions: 1 },
};

export const snapshot = (own: Partial<StatusSnapshot> = {}): StatusSnapshot => ({
  node: { device_id: "mini1", node_id: "mini1-id", version: "0.1.0", incarnation: 1 }, cluster: { id: "c", name: "home" }, ready: true, reasons: [], role: "leader",
  leader: { device_id: "mini1", node_id: "mini1-id" }, epoch: { counter: 4, node_id: "mini1-id" }, world_size: 2, model: { id: "Smol", numerics: "fast" }, plan: null,
  devices: [device("mini1", { self: true, role: "coordinator" }), device("mini2", { rank: 1, layers: [15, 30] }), device("mini3", { rank: null, layers: null, status: "dead" })],
  conditions: [{ code: "member_dead", severity: "error", message: "mini3 is dead", remedy: "look", device_id: "mini3" }], draining: false, drained: false, inference: scheduler, live: null, events: [], ...own,
});

export const probe = (own: Partial<ProbeReply> = {}): ProbeReply => ({
  incarnation: "w", pid: 2, epoch: null, phase: "PHASE_IDLE", inflight: 0, stepSeq: 1, phaseAgeMs: 0, progressAgeMs: 0, loopLagMs: 2, bytesLoaded: 10, bytesTotal: 10, stage: null, errorCode: "", error: "",
  rssBytes: 1_000, kvBytes: 500, engine: "onnx", stepsTotal: 7, computeSecondsTotal: 0.25, cpuSecondsTotal: 1.5, computeCounts: [...computeSecondsBounds, 0].map((_, index) => (index < 2 ? 3 : 0)), ...own,
});
