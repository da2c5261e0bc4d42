/** A made-up cluster for looking at the dashboard: three ranks, a spare, a dead machine, a fault that was mended and one under repair. */
import type { StatusSnapshot } from "../../src/daemon/status.js";
import { Narrator } from "../../src/daemon/telemetry/narrator.js";
import { Timeline } from "../../src/daemon/telemetry/timeline.js";
import { device, snapshot } from "../unit/daemon/telemetry/make.js";

const load = (busy_ratio: number) => ({ busy_ratio, cpu_cores: 1.2, steps_per_second: 41, rss_bytes: 262_000_000, kv_bytes: 18_400_000 });

export function storySnapshot(nowMs: number): StatusSnapshot {
  const timeline = new Timeline("aa", 1);
  const narrator = new Narrator("mini2");
  const told = (secondsAgo: number, happening: ReturnType<Narrator["supervisor"]>): void => { if (happening) timeline.note(happening, "mini1", nowMs - secondsAgo * 1_000); };
  told(900, { kind: "member_joined", severity: "info", device_id: "mini3", text: "mini3 joined" });
  told(893, { kind: "ring_ready", severity: "info", device_id: "", text: "The ring is ready: every stage of plan 4 is loaded", took_ms: 1_840 });
  told(300.5, { kind: "worker_failed", severity: "error", device_id: "mini2", text: "The worker of mini2 stopped answering: connection refused" });
  told(300.4, { kind: "ring_not_ready", severity: "error", device_id: "", text: "The ring does not compute: rank 1 (mini2) has no worker" });
  told(299.9, narrator.supervisor({ kind: "restarted", reason: "died", incarnation: "x" }));
  for (const [phase, tookMs] of [["detect", 260], ["restart", 640], ["load", 890]] as const) narrator.supervisor({ kind: "recovery", phase, tookMs });
  told(298.8, narrator.supervisor({ kind: "recovery", phase: "total", tookMs: 1_790 }));
  told(298.7, { kind: "ring_ready", severity: "info", device_id: "", text: "The ring is ready: every stage of plan 4 is loaded" });
  told(298.5, { kind: "answers_resumed", severity: "info", device_id: "mini1", text: "An answer moved on after stage lost, 87 tokens into it", took_ms: 2_050, phases: [{ name: "notice", ms: 210 }, { name: "wait", ms: 1_700 }, { name: "replay", ms: 140 }] });
  told(42, { kind: "member_dead", severity: "error", device_id: "mini5", text: "mini5 is gone: its agent is not running" });
  return snapshot({
    devices: [
      device("mini1", { self: true, role: "coordinator", layers: [0, 9], load: load(0.42) }),
      device("mini2", { rank: 1, layers: [9, 20], load: load(0.71), worker: { ...device("x").worker!, restarts: 1 } }),
      device("studio", { rank: 2, layers: [20, 30], load: load(0.55) }),
      device("mini4", { rank: null, layers: null, load: load(0) }),
      device("mini5", { rank: null, layers: null, status: "dead" }),
    ],
    world_size: 3, model: { id: "SmolLM2-135M-Instruct-8bit", numerics: "fast" },
    plan: { version: 4, epoch: { counter: 7, node_id: "mini1-id" }, model_id: "SmolLM2", world_size: 3, why: "mini3 joined", slots: 16, batch_max: 8, context_max: 8_192, kv_tokens_max: 1_000, estimated_step_ms: 8, ranks: [] },
    conditions: [{ code: "member_dead", severity: "warning", message: "mini5 has not been heard of for 42 s", remedy: "Start it, or `minid forget mini5` if it is gone for good.", device_id: "mini5" }],
    live: { requests_running: 3, requests_waiting: 1, tokens_per_second: 87.4, prefill_tokens_per_second: 12, kv_use_ratio: 0.18, step_ms: 22, hop_ms: 0.61, first_token_ms: 184, inter_token_ms: 26.2, ranks: [{ rank: 0, compute_ms: 6.1 }, { rank: 1, compute_ms: 7.4 }, { rank: 2, compute_ms: 6.8 }] },
    events: timeline.all(),
  });
}
