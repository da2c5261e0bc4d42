import { describe, expect, it } from "vitest";
import { epochZero, nodeId } from "../../../../src/core/ids.js";
import { absentWorker } from "../../../../src/daemon/supervisor/facts.js";
import { parseBulletin } from "../../../../src/daemon/telemetry/bulletin.js";
import { Narrator } from "../../../../src/daemon/telemetry/narrator.js";
import { type Happening, Timeline, ownEventsMax, timelineMax } from "../../../../src/daemon/telemetry/timeline.js";
import { VitalsMeter } from "../../../../src/daemon/telemetry/vitals.js";
import { probe, scheduler } from "./make.js";

const died = (who: string, text = "gone"): Happening => ({ kind: "member_dead", severity: "error", device_id: who, text });

describe("the timeline", () => {
  it("shows as one entry what two nodes saw of the same death, with the first one's time", () => {
    const mine = new Timeline("aa", 1);
    const theirs = new Timeline("bb", 1);
    mine.note(died("mini3"), "mini1", 10_400);
    theirs.note(died("mini3"), "mini2", 10_000);
    mine.learn("bb", theirs.own);
    mine.learn("bb", theirs.own);
    expect(mine.all()).toMatchObject([{ at_ms: 10_000, seen_by: ["mini2", "mini1"], count: 1 }]);
  });

  it("keeps two deaths of the same machine apart", () => {
    const timeline = new Timeline("aa", 1);
    timeline.note(died("mini3"), "mini1", 1_000);
    timeline.note(died("mini3"), "mini1", 60_000);
    expect(timeline.all().map(({ at_ms }) => at_ms)).toEqual([1_000, 60_000]);
  });

  it("counts answers that moved on together as one entry with the longest time", () => {
    const timeline = new Timeline("aa", 1);
    const moved = (ms: number): Happening => ({ kind: "answers_resumed", severity: "info", device_id: "mini1", text: "moved", took_ms: ms, phases: [{ name: "wait", ms }] });
    for (const ms of [300, 900, 500]) timeline.note(moved(ms), "mini1", 5_000);
    expect(timeline.all()).toMatchObject([{ count: 3, took_ms: 900, phases: [{ name: "wait", ms: 900 }] }]);
  });

  it("is bounded, and believes nobody about what another saw", () => {
    const timeline = new Timeline("aa", 1);
    for (let at = 0; at < 3 * ownEventsMax; at += 1) timeline.note(died(`m${at}`), "mini1", at * 10_000);
    expect(timeline.own).toHaveLength(ownEventsMax);
    for (let node = 0; node < 10; node += 1) {
      const other = new Timeline(`n${node}`, 1);
      for (let at = 0; at < ownEventsMax; at += 1) other.note(died(`m${at}`), `mini${node}`, (node * 100 + at) * 10_000);
      timeline.learn(`n${node}`, other.own);
      timeline.learn("liar", other.own.map((event) => ({ ...event, text: "forged" })));
    }
    expect(timeline.all()).toHaveLength(timelineMax);
    expect(timeline.all().some(({ text }) => text === "forged")).toBe(false);
  });
});

describe("the narrator", () => {
  const healthy = { ...absentWorker, healthy: true, phase: "idle" as const };

  it("tells of a worker that fails once it was healthy, and not of one that starts", () => {
    const narrator = new Narrator("mini2");
    expect(narrator.worker(absentWorker)).toBeUndefined();
    expect(narrator.worker(healthy)).toBeUndefined();
    expect(narrator.worker({ ...absentWorker, error: "the worker does not answer: refused" })).toMatchObject({ kind: "worker_failed", device_id: "mini2", text: "The worker of mini2 stopped answering: the worker does not answer: refused" });
    expect(narrator.worker(absentWorker)).toBeUndefined();
  });

  it("puts the parts of a recovery into one entry", () => {
    const narrator = new Narrator("mini2");
    for (const [phase, tookMs] of [["detect", 400], ["restart", 700], ["load", 900]] as const) expect(narrator.supervisor({ kind: "recovery", phase, tookMs })).toBeUndefined();
    expect(narrator.supervisor({ kind: "recovery", phase: "total", tookMs: 2_000 })).toMatchObject({
      kind: "worker_recovered", took_ms: 2_000, phases: [{ name: "detect", ms: 400 }, { name: "restart", ms: 700 }, { name: "load", ms: 900 }],
    });
  });

  it("gives the time since the plan only to the first time that a plan is ready", () => {
    const narrator = new Narrator("mini1");
    const ready = { kind: "ready", epoch: epochZero, version: 3 } as const;
    expect(narrator.cluster({ ...ready, sincePlanMs: 800 })).toMatchObject({ took_ms: 800 });
    expect(narrator.cluster({ kind: "not_ready", reasons: ["mini2 has no worker"] })).toMatchObject({ kind: "ring_not_ready", text: "The ring does not compute: mini2 has no worker" });
    expect(narrator.cluster({ ...ready, sincePlanMs: 3_600_000 })).not.toHaveProperty("took_ms");
  });

  it("says who joined, fell silent, died and came back", () => {
    const narrator = new Narrator("mini1");
    const kinds = ([["unknown", "alive"], ["alive", "suspect"], ["suspect", "alive"], ["suspect", "dead"], ["dead", "alive"], ["alive", "left"]] as const)
      .map(([from, to]) => narrator.cluster({ kind: "member", nodeId: nodeId("bb"), deviceId: "mini2", from, to, cause: "silence" })?.kind);
    expect(kinds).toEqual(["member_joined", "member_suspect", undefined, "member_dead", "member_back", "member_left"]);
  });
});

describe("vitals", () => {
  it("are rates of the last seconds and means of the last minute", () => {
    const meter = new VitalsMeter();
    const at = (seconds: number, decodedTokens: number, own: Parameters<typeof probe>[0]) =>
      meter.measure(seconds * 1_000, probe(own), { ...scheduler, totals: { ...scheduler.totals, decodedTokens } }, true);
    meter.firstToken(0.2, 500);
    meter.firstToken(0.4, 600);
    meter.interToken(0.01, 700);
    at(1, 100, { computeSecondsTotal: 5, cpuSecondsTotal: 10, stepsTotal: 50 });
    meter.step({ computeMs: 4, ringMs: 10, durationMs: 16, worldSize: 2, times: [{ rank: 1, computeMs: 3, heldMs: 4 }] }, 1_500);
    const vitals = at(3, 160, { computeSecondsTotal: 6, cpuSecondsTotal: 13, stepsTotal: 90 });
    expect(vitals).toMatchObject({
      worker: { busy_ratio: 0.5, cpu_cores: 1.5, steps_per_second: 20 },
      door: { first_token_ms: 300, inter_token_ms: 10, answers: 2 },
      ring: { tokens_per_second: 30, requests_waiting: 3, kv_use_ratio: 0.25, step_ms: 16, hop_ms: 3, ranks: [{ rank: 0, compute_ms: 4 }, { rank: 1, compute_ms: 3 }] },
    });
    expect(at(65, 160, {}).door).toMatchObject({ first_token_ms: null, answers: 0 });
    expect(at(66, 160, {}).ring).toMatchObject({ step_ms: null, ranks: [] });
  });

  it("do not mistake a new worker's counters for progress, and say nothing of a ring to those who do not lead", () => {
    const meter = new VitalsMeter();
    meter.measure(1_000, probe({ incarnation: "a", stepsTotal: 1_000 }), scheduler, false);
    const vitals = meter.measure(2_000, probe({ incarnation: "b", stepsTotal: 5 }), scheduler, false);
    expect(vitals.worker?.steps_per_second).toBe(0);
    expect(vitals.ring).toBeNull();
    expect(meter.measure(3_000, undefined, scheduler, false).worker).toBeNull();
  });

  it("arrive in a bulletin as they were sent; what breaks a bound is no bulletin", () => {
    const timeline = new Timeline("aa", 1);
    timeline.note(died("mini3", "x".repeat(1_000)), "mini1", 1);
    const sent = { type: "bulletin", vitals: new VitalsMeter().measure(0, probe(), scheduler, true), events: timeline.own };
    expect(parseBulletin(JSON.parse(JSON.stringify(sent)))).toEqual(sent);
    expect(parseBulletin({ ...sent, events: Array.from({ length: ownEventsMax + 1 }, () => timeline.own[0]) })).toBeUndefined();
    expect(parseBulletin({ ...sent, vitals: { ...sent.vitals, door: { answers: -1 } } })).toBeUndefined();
    expect(parseBulletin({ type: "heartbeat" })).toBeUndefined();
  });
});
