/** The soak's rule: what is a leak, and what is none. */
import { describe, expect, it } from "vitest";
import { Random } from "../../chaos/random.js";
import { mayStrike } from "../../soak/soak.js";
import { type Point, kendallTau, theilSen, trend } from "../../soak/slope.js";
import { rowsOf } from "../../soak/verdicts.js";

const hourMs = 3_600_000;
const lookMs = 10_000;
/** An hour of looks. @param value by hours since the start. */
const series = (value: (hours: number, index: number) => number, looks = 360): Point[] => Array.from({ length: looks }, (_, index) => ({ atMs: index * lookMs, value: value(index * lookMs / hourMs, index) }));
const memory = { perHour: 0.1, growth: 6 };

describe("the slope of a measure", () => {
  it("catches a leak of 20 MB an hour under the saw-tooth of a garbage collector", () => {
    const random = new Random(1);
    const found = trend(series((hours, index) => 120 + 20 * hours + (index % 17) * 2 + random.between(-1, 1)), memory);
    expect(found).toMatchObject({ grows: true });
    expect(found?.perHour).toBeCloseTo(20, -1);
  });

  it("catches a leak whose rare peaks are higher than all that it leaks", () => {
    expect(trend(series((hours, index) => 120 + 25 * hours + (index % 50 === 0 ? 300 : 0)), memory)?.grows).toBe(true);
  });

  it("catches a descriptor that is lost with every tenth fault", () => {
    expect(trend(series((hours) => 40 + Math.floor(hours * 12)), { perHour: 0.1, growth: 4 })?.grows).toBe(true);
  });

  it("lets pass what only warms up: growth in the first half and a plateau", () => {
    expect(trend(series((hours) => 100 + 40 * Math.min(hours, 0.5)), memory)?.grows).toBe(false);
  });

  it("lets pass noise, whatever its seed", () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = new Random(seed);
      expect(trend(series(() => 120 + random.between(0, 30)), memory)?.grows).toBe(false);
    }
  });

  it("lets pass one step up, a saw-tooth, and steady growth within the allowance", () => {
    expect(trend(series((hours) => (hours < 0.75 ? 100 : 140)), memory)?.grows).toBe(false);
    expect(trend(series((_, index) => 100 + (index % 45)), memory)?.grows).toBe(false);
    expect(trend(series((hours) => 120 + 8 * hours), memory)?.grows).toBe(false);
    // A share of 50 %, but one descriptor.
    expect(trend(series((hours) => 2 + hours), { perHour: 0.1, growth: 4 })?.grows).toBe(false);
  });

  it("says nothing of a few points, and never that falling is growing", () => {
    expect(trend(series(() => 1, 9), memory)).toBeUndefined();
    // Five minutes: chance looks like growth there, a steady ramp is still one.
    expect(trend([100, 130, 120, 150, 160].flatMap((value, index) => [1, 2, 3, 4, 5, 6].map((look) => ({ atMs: (index * 6 + look) * lookMs, value }))), memory)?.grows).toBe(false);
    expect(trend(series((hours) => 100 + 400 * hours, 30), memory)?.grows).toBe(true);
    expect(trend([], memory)).toBeUndefined();
    expect(trend(series((hours) => 300 - 100 * hours), memory)).toMatchObject({ grows: false, tau: -1 });
  });

  it("is the median of all pairs' slopes", () => {
    const points = [0, 1, 2, 3, 100, 5, 6].map((value, index) => ({ atMs: index, value }));
    expect(theilSen(points)).toBe(1);
    expect(kendallTau(points)).toBeCloseTo(17 / 21);
  });
});

describe("the soak's table", () => {
  it("judges a process that lived by its floor, and processes that followed each other by their median", () => {
    const young = series((_, index) => (index % 30 === 0 ? 60 : 250));
    const lived = { node: "node1", kind: "agent", measure: "rss", lives: [0] } as const;
    expect(rowsOf([{ ...lived, lives: [0], points: series((hours) => 120 + 30 * hours) }])[0]?.trend?.grows).toBe(true);
    expect(rowsOf([{ ...lived, kind: "worker", lives: young.filter((_, index) => index % 30 === 0).map(({ atMs }) => atMs), points: young }])[0]).toMatchObject({ lives: 12, trend: { from: 250, grows: false } });
    // Each successor is larger than the one before, by what its home has gathered.
    expect(rowsOf([{ ...lived, kind: "worker", lives: [0, 3_000_000], points: series((hours, index) => 100 + 100 * hours - (index % 30 === 0 ? 60 : 0)) }])[0]?.trend?.grows).toBe(true);
  });

  it("keeps the first node whole and the second one's agent alive", () => {
    expect(["node-kill", "worker-kill", "restart", "agent-kill"].map((fault) => [0, 1, 2].map((node) => mayStrike(fault as "node-kill", node)))).toEqual([[false, false, true], [false, true, true], [false, false, true], [false, false, true]]);
    expect(mayStrike("agent-stop", 0)).toBe(true);
  });
});
