import { describe, expect, it, vi } from "vitest";
import { type Bug, bugs, noBug } from "./bugs.js";
import { scenarioOf } from "./scenario.js";
import { shrink } from "./shrink.js";
import type { Violation } from "./violation.js";
import { World } from "./world.js";

/** Together with those of streaming.test.ts 10,000. `npm run sim -- --seed N --runs M` runs others, and more. */
const SEEDS = 9_000;
const SEEDS_A_TEST = 1_000;
const run = (seed: number, bug: Bug = noBug): Violation | undefined => new World(scenarioOf(seed), bug).run().violation;

// A thousand seeds are seconds of work on a quiet machine, and minutes where others compute.
vi.setConfig({ testTimeout: 900_000 });

describe("the cluster in simulation", () => {
  it.each(Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, index) => 1 + index * SEEDS_A_TEST))("keeps its promises, seeds %i and the thousand after", (first) => {
    for (let seed = first; seed < first + SEEDS_A_TEST; seed += 1) {
      const violation = run(seed);
      if (violation) expect.fail(`seed ${seed} breaks a promise: ${violation.message}\nreplay: npm run sim -- --seed ${seed} --runs 1 --trace`);
    }
  });

  it("replays a seed exactly", () => {
    const tell = () => {
      const lines: string[] = [];
      new World(scenarioOf(4), noBug, (line) => lines.push(line)).run();
      return lines;
    };
    expect(tell().length).toBeGreaterThan(20);
    expect(tell()).toEqual(tell());
  });

  it("shrinks a failing seed to fewer machines and faults that break the same rule", () => {
    const bug = bugs["a leader that does not step down for a higher epoch"];
    let seed = 1;
    while (!run(seed, bug) || scenarioOf(seed).faults.length < 4) seed += 1;
    const rule = run(seed, bug)!.rule;
    const small = shrink(scenarioOf(seed), rule, bug);
    expect(small.outcome.violation?.rule).toBe(rule);
    expect(small.scenario.faults.length + small.scenario.machines.length).toBeLessThan(scenarioOf(seed).faults.length + scenarioOf(seed).machines.length);
    expect(new World(small.scenario).run().violation).toBeUndefined();
  });
});
