import { describe, expect, it, vi } from "vitest";
import { type Bug, bugs, noBug, streamingBugs } from "./bugs.js";
import { scenarioOf, streamingScenarioOf } from "./scenario.js";
import { shrink } from "./shrink.js";
import type { Violation } from "./violation.js";
import { World } from "./world.js";

/** `npm run sim -- --seed N --runs M` runs others, and more. */
const SEEDS = 8_000;
/** With answers streaming through them. */
const STREAMING_SEEDS = 2_000;
const SEEDS_A_TEST = 1_000;
/** A planted bug must show within this many seeds, */
const SEEDS_A_BUG = 600;
/** counted from here, for those that need rare circumstances. */
const FIRST_SEED: Readonly<Record<string, number>> = { "a worker that accepts a lower epoch": 1_001 };

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

  it.each(Array.from({ length: STREAMING_SEEDS / SEEDS_A_TEST }, (_, index) => 1 + index * SEEDS_A_TEST))("completes every answer as if nothing had happened, seeds %i and the thousand after", (first) => {
    let interruptions = 0;
    for (let seed = first; seed < first + SEEDS_A_TEST; seed += 1) {
      const world = new World(streamingScenarioOf(seed));
      const { violation } = world.run();
      interruptions += world.recoveries.length;
      if (violation) expect.fail(`seed ${seed} breaks a promise: ${violation.message}\nreplay: npm run sim -- --seed ${seed} --runs 1 --streams --trace`);
    }
    expect(interruptions).toBeGreaterThan(SEEDS_A_TEST / 4);
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

describe("planted bugs are caught", () => {
  it.each(Object.entries<Bug>(bugs))("%s", (name, bug) => {
    const first = FIRST_SEED[name] ?? 1;
    let violation: Violation | undefined;
    for (let seed = first; seed < first + SEEDS_A_BUG && !violation; seed += 1) violation = run(seed, bug);
    expect(violation, `nothing within ${SEEDS_A_BUG} seeds`).toBeDefined();
  });

  it.each(Object.entries<Bug>(streamingBugs))("%s", (_, bug) => {
    let violation: Violation | undefined;
    for (let seed = 1; seed <= SEEDS_A_BUG && !violation; seed += 1) violation = new World(streamingScenarioOf(seed), bug).run().violation;
    expect(violation, `nothing within ${SEEDS_A_BUG} seeds`).toBeDefined();
  });
});
