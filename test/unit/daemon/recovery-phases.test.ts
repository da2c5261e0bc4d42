import { describe, expect, it } from "vitest";
import { nodeId } from "../../../src/core/ids.js";
import { RecoveryPhases } from "../../../src/daemon/recovery-phases.js";

const epoch = { counter: 3, nodeId: nodeId("a") };
const dead = { kind: "member", nodeId: nodeId("b"), deviceId: "two", from: "suspect", to: "dead", cause: "silent" } as const;
const planned = (version: number) => ({ kind: "planned", epoch, version, worldSize: 2, why: "a machine is gone" }) as const;
const ready = (version: number, sincePlanMs: number) => ({ kind: "ready", epoch, version, sincePlanMs }) as const;

describe("the phases of a recovery", () => {
  it("are told under the loss that began it", () => {
    const phases = new RecoveryPhases();
    expect(phases.event(dead, 1_000, 1_500)).toEqual([{ cause: "machine_lost", phase: "detect", tookMs: 1_500 }]);
    expect(phases.event(planned(4), 1_030)).toEqual([{ cause: "machine_lost", phase: "plan", tookMs: 30 }]);
    expect(phases.event(ready(4, 900), 1_930)).toEqual([{ cause: "machine_lost", phase: "load", tookMs: 900 }]);
    expect(phases.event(ready(4, 9_000), 9_000)).toEqual([]);
  });

  it("belong to the election when it was rank 0 that died", () => {
    const phases = new RecoveryPhases();
    phases.event(dead, 1_000, 1_500);
    expect(phases.event({ kind: "election_won", epoch, cause: "leader_dead", tookMs: 80 }, 1_080)).toEqual([{ cause: "leader_dead", phase: "elect", tookMs: 80 }]);
    expect(phases.event(planned(5), 1_100)).toEqual([{ cause: "leader_dead", phase: "plan", tookMs: 20 }]);
    expect(phases.event(ready(5, 700), 1_800)).toEqual([{ cause: "leader_dead", phase: "load", tookMs: 700 }]);
  });

  it("do not make a newcomer's plan a recovery", () => {
    const phases = new RecoveryPhases();
    expect(phases.event(planned(1), 500)).toEqual([]);
    expect(phases.event(ready(1, 400), 900)).toEqual([{ cause: "plan", phase: "load", tookMs: 400 }]);
    phases.event(dead, 1_000, 10);
    expect(phases.event(planned(2), 100_000)).toEqual([]);
  });
});
