import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareEpochs } from "../../../../src/core/ids.js";
import { stillComputingMsMax, unresponsiveMsMax } from "../../../../src/daemon/supervisor/bounds.js";
import { epoch, request, World } from "./fake-worker.js";

/** A world whose worker has loaded stage 1 and, if wished, computes. */
function serving(busy = false): World {
  const world = new World();
  world.assign(request(1));
  expect(world.runUntil(() => world.state.reported.loaded?.planVersion === 1, 5_000)).toBe(true);
  if (busy) world.process!.busy = true;
  world.run(1_000);
  return world;
}
const trace = (world: World, name: string) => expect(`${world.lines.join("\n")}\n`).toMatchFileSnapshot(`../../../traces/supervisor/${name}.txt`);

describe("a healthy worker", () => {
  it("is loaded with its stage, and not touched while it computes for an hour, at any pace within the bounds", () => {
    const world = serving(true);
    world.process!.paceMs = 3_000;
    world.run(3_600_000);
    expect(world.kills()).toEqual([]);
    expect(world.state.restarts).toBe(0);
    expect(world.effects.filter(({ effect }) => effect.kind === "load")).toHaveLength(1);
  });

  it("teaches a slow machine's pace: a pause that would have been a hang no longer is", () => {
    const world = serving(true);
    const before = stillComputingMsMax(world.state.pace);
    world.process!.paceMs = 6_000;
    world.run(60_000);
    expect(stillComputingMsMax(world.state.pace)).toBeGreaterThan(2 * before);
    world.process!.hung = true;
    world.run(20_000);
    world.process!.hung = false;
    world.run(60_000);
    expect(world.kills()).toEqual([]);
  });

  it("is given a new stage when the plan changes, and none twice", async () => {
    const world = serving();
    world.assign(request(2));
    world.assign(request(2));
    expect(world.runUntil(() => world.state.reported.loaded?.planVersion === 2, 5_000)).toBe(true);
    world.run(5_000);
    world.assign(undefined);
    world.run(5_000);
    await trace(world, "new-plan");
  });

  it("gets the newest of plans that follow each other while it loads", async () => {
    const world = serving();
    world.assign(request(2));
    world.run(100);
    world.assign(request(3));
    expect(world.runUntil(() => world.state.reported.loaded?.planVersion === 3, 5_000)).toBe(true);
    await trace(world, "plans-in-a-row");
  });
});

describe("a worker that dies", () => {
  it("is unready at the first failed probe, comes back with its stage by itself, and the outage is measured", async () => {
    const world = serving(true);
    world.kill("kill -9");
    const diedAt = world.now;
    expect(world.runUntil(() => !world.state.reported.healthy, 1_000)).toBe(true);
    expect(world.runUntil(() => world.holds(world.state.target!), 5_000)).toBe(true);
    expect(world.now - diedAt).toBeLessThan(2_000);
    world.run(1_000);
    expect(world.kills()).toEqual([]);
    await trace(world, "death");
  });

  it("is noticed at once when a broken stream says so", () => {
    const world = serving();
    world.kill("kill -9");
    world.input({ kind: "suspected" });
    world.run(100);
    expect(world.state.reported.healthy).toBe(false);
  });

  it("while loading, every time, backs off, is advertised as looping, and is still tried", async () => {
    const world = new World();
    world.loadBehaviour = "dies";
    world.assign(request(1));
    world.run(300_000);
    const loads = world.effects.filter(({ effect }) => effect.kind === "load").map(({ at }) => at);
    const gaps = loads.slice(1).map((time, index) => time - loads[index]!);
    expect(world.state.reported.crashLooping).toBe(true);
    expect(gaps.slice(-2).every((gap) => gap >= 15_000 && gap < 20_000)).toBe(true);
    world.loadBehaviour = "loads";
    expect(world.runUntil(() => world.holds(world.state.target!), 40_000)).toBe(true);
    world.run(10_000);
    expect(world.state.reported).toMatchObject({ crashLooping: false, healthy: true, error: "" });
    await trace(world, "crash-loop");
  });

  it("and is planned around may come back after a probation", () => {
    const world = new World();
    world.loadBehaviour = "dies";
    world.assign(request(1));
    expect(world.runUntil(() => world.state.reported.crashLooping, 60_000)).toBe(true);
    world.assign(undefined);
    expect(world.runUntil(() => !world.state.reported.crashLooping, 60_000)).toBe(true);
  });

  it("now and then, after serving, is never taken for a crash loop", () => {
    const world = serving(true);
    for (let death = 0; death < 15; death += 1) {
      world.kill("kill -9");
      expect(world.runUntil(() => !world.state.reported.healthy, 1_000)).toBe(true);
      expect(world.runUntil(() => world.holds(world.state.target!), 2_000)).toBe(true);
      world.process!.busy = true;
      world.run(4_000);
      expect(world.state.reported.crashLooping).toBe(false);
    }
  });

  it("while it waits for its backoff to pass does not wait longer for that", () => {
    const world = new World();
    world.loadBehaviour = "dies";
    world.assign(request(1));
    expect(world.runUntil(() => world.state.crashes.inARow === 4, 60_000)).toBe(true);
    const { loadNotBefore } = world.state.crashes;
    world.loadBehaviour = "loads";
    world.kill("somebody's kill -9");
    expect(world.runUntil(() => world.state.worker?.reply.incarnation === world.process?.incarnation, 5_000)).toBe(true);
    expect(world.state.crashes).toMatchObject({ inARow: 4, loadNotBefore });
    expect(world.runUntil(() => world.holds(world.state.target!), 5_000)).toBe(true);
  });

  it("before it can answer, every time, is reported as not starting", () => {
    const world = new World();
    world.diesAtBoot = true;
    world.run(20_000);
    expect(world.state.reported).toMatchObject({ healthy: false, crashLooping: true, phase: "absent" });
    expect(world.state.reported.error).toContain("worker.log");
    world.diesAtBoot = false;
    world.run(2_000);
    expect(world.state.reported).toMatchObject({ healthy: true, phase: "empty", error: "" });
  });
});

describe("a worker that hangs", () => {
  it("in the engine is killed at the bound, not earlier, and comes back", async () => {
    const world = serving(true);
    world.process!.hung = true;
    const hungAt = world.now;
    expect(world.runUntil(() => world.kills().length > 0, 15_000)).toBe(true);
    expect(world.now - hungAt).toBeGreaterThan(7_500);
    expect(world.kills()[0]!.effect.reason).toBe("stuck_computing");
    expect(world.runUntil(() => world.holds(world.state.target!), 3_000)).toBe(true);
    await trace(world, "hang");
  });

  it("altogether (SIGSTOP) is killed after several probes, within ten seconds", async () => {
    const world = serving();
    world.process!.stopped = true;
    const stoppedAt = world.now;
    expect(world.runUntil(() => !world.state.reported.healthy, 2_000)).toBe(true);
    expect(world.runUntil(() => world.holds(world.state.target!), 10_000)).toBe(true);
    expect(world.kills().map(({ effect }) => effect.reason)).toEqual(["unresponsive"]);
    expect(world.kills()[0]!.at - stoppedAt).toBeGreaterThanOrEqual(unresponsiveMsMax(world.state.pace));
    await trace(world, "stopped");
  });

  it("but wakes up before the bound is spared", () => {
    const world = serving();
    world.process!.stopped = true;
    world.run(2_500);
    expect(world.state.reported.healthy).toBe(false);
    world.process!.stopped = false;
    world.run(2_000);
    expect(world.kills()).toEqual([]);
    expect(world.holds(world.state.target!)).toBe(true);
  });

  it("while loading (a disk that no longer reads) is killed at the loading bound", () => {
    const world = new World();
    world.loadBehaviour = "hangs";
    world.assign(request(1));
    expect(world.runUntil(() => world.kills().length > 0, 40_000)).toBe(true);
    expect(world.kills()[0]!.effect.reason).toBe("stuck_loading");
  });

  it("is not found hanging because the agent or the machine stood still", () => {
    const world = serving(true);
    world.process!.hung = true;
    world.run(1_000);
    // The agent is stopped for a minute; the engine goes on a second after both wake.
    world.now += 60_000;
    world.run(1_000);
    world.process!.hung = false;
    world.run(2_000);
    expect(world.kills()).toEqual([]);
  });

  it("is not blamed for the agent's own lateness", () => {
    const world = serving();
    world.process!.stopped = true;
    world.lagMs = 2_000;
    world.run(3_000);
    expect(world.state.reported.healthy).toBe(true);
    world.lagMs = 0;
    expect(world.runUntil(() => !world.state.reported.healthy, 2_000)).toBe(true);
  });
});

describe("a worker that lies", () => {
  it.each([
    ["a progress counter that falls", { stepSeq: 0 }],
    ["an accepted epoch that falls", { epoch: epoch(0) }],
    ["another pid", { pid: 4242 }],
    ["idle with work in flight", { phase: "PHASE_IDLE" as const, inflight: 3 }],
    ["idle without a stage", { phase: "PHASE_IDLE" as const, inflight: 0, stage: null }],
  ])("%s: is killed", (_, lie) => {
    const world = serving(true);
    const { pid, incarnation } = world.process!;
    world.process!.lie = lie;
    expect(world.runUntil(() => world.process?.pid !== pid, 3_000)).toBe(true);
    world.run(5_000);
    expect(world.kills()).toHaveLength(1);
    expect(world.kills()[0]!.effect).toMatchObject({ reason: "lied", process: { pid, incarnation } });
  });

  it("once, in a way that a race explains, is not killed", () => {
    const world = serving(true);
    world.process!.lie = { phase: "PHASE_IDLE", inflight: 1 };
    world.run(600);
    world.process!.lie = {};
    world.run(5_000);
    expect(world.kills()).toEqual([]);
  });
});

describe("a load that is refused", () => {
  it("is not a crash: it is reported with its reason, and retried slowly", async () => {
    const world = new World();
    world.loadBehaviour = "refuses";
    world.assign(request(1));
    world.run(60_000);
    expect(world.kills()).toEqual([]);
    expect(world.state.reported).toMatchObject({ healthy: false, crashLooping: false, error: "model_corrupt: shard 2 is damaged" });
    expect(world.effects.filter(({ effect }) => effect.kind === "load")).toHaveLength(3);
    world.loadBehaviour = "loads";
    expect(world.runUntil(() => world.holds(world.state.target!), 60_000)).toBe(true);
    await trace(world, "refused");
  });

  it("does not delay the next plan", () => {
    const world = new World();
    world.loadBehaviour = "refuses";
    world.assign(request(1));
    world.run(30_000);
    world.loadBehaviour = "loads";
    world.assign(request(2));
    expect(world.runUntil(() => world.holds(world.state.target!), 2_000)).toBe(true);
  });
});

it("reports the highest epoch that the worker accepted", () => {
  const world = serving();
  world.assign(request(5, 9));
  world.run(2_000);
  expect(compareEpochs(world.state.reported.acceptedEpoch, epoch(9))).toBe(0);
});

describe("whatever happens", () => {
  type Happening = "kill" | "hang" | "stop" | "wake" | "busy" | "rest" | "plan" | "unplan" | "loads" | "dies" | "refuses" | "hangs" | "suspect" | "late";
  const happening = fc.constantFrom<Happening>("kill", "hang", "stop", "wake", "busy", "rest", "plan", "unplan", "loads", "dies", "refuses", "hangs", "suspect", "late");
  const script = fc.array(fc.tuple(happening, fc.integer({ min: 0, max: 12_000 })), { minLength: 1, maxLength: 25 });

  function play(world: World, what: Happening, version: { value: number }): void {
    const { process } = world;
    switch (what) {
      case "kill": world.kill("random"); break;
      case "hang": if (process) { process.busy = true; process.hung = true; } break;
      case "stop": if (process) process.stopped = true; break;
      case "wake": if (process) { process.stopped = false; process.hung = false; } break;
      case "busy": if (process?.stage) process.busy = true; break;
      case "rest": if (process) process.busy = false; break;
      case "plan": version.value += 1; world.assign(request(version.value)); break;
      case "unplan": world.assign(undefined); break;
      case "loads": case "dies": case "refuses": case "hangs": world.loadBehaviour = what; break;
      case "suspect": world.input({ kind: "suspected" }); break;
      case "late": world.lagMs = world.lagMs === 0 ? 1_000 : 0; break;
    }
  }

  it("a worker that answers and moves is never killed, loads never overlap, and in the end the stage is there", () => {
    fc.assert(fc.property(script, (happenings) => {
      const world = new World();
      const version = { value: 0 };
      for (const [what, forMs] of happenings) {
        play(world, what, version);
        const wellFrom = world.now;
        const well = world.process !== undefined && !world.process.stopped && !world.process.hung && world.loadBehaviour !== "hangs" && what !== "wake" ? world.process.incarnation : undefined;
        const killsBefore = world.kills().length;
        world.run(forMs);
        const wronged = world.kills().slice(killsBefore).filter(({ at, effect }) => effect.process.incarnation === well && at > wellFrom + 2_000);
        expect(wronged).toEqual([]);
      }
      // The world becomes kind again.
      world.loadBehaviour = "loads";
      world.lagMs = 0;
      world.assign(request(version.value + 1));
      if (world.process) { world.process.stopped = false; world.process.hung = false; world.process.busy = false; }
      expect(world.runUntil(() => world.holds(world.state.target!) && world.state.reported.error === "", 700_000), world.lines.join("\n")).toBe(true);

      let running: number | undefined;
      for (const { effect } of world.effects) {
        if (effect.kind === "cancelLoad" && effect.id === running) running = undefined;
        if (effect.kind === "load") { expect(effect.id).toBeGreaterThan(running ?? 0); running = effect.id; }
      }
    }), { numRuns: 150 });
  });
});
