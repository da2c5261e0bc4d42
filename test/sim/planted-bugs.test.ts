import { describe, expect, it, vi } from "vitest";
import { type Bug, bugs, streamingBugs } from "./bugs.js";
import { type Scenario, scenarioOf, streamingScenarioOf } from "./scenario.js";
import type { Violation } from "./violation.js";
import { World } from "./world.js";

/** A planted bug must show within this many seeds, */
const SEEDS_A_BUG = 800;
/** counted from here, for those that need rarer circumstances. */
const FIRST_SEED: Readonly<Record<string, number>> = {
  "a worker that accepts a lower epoch": 500, "no self-doubt": 55, "epochs start from nothing after a restart": 290, "one-way loss goes unnoticed": 70, "no word of others counts": 30,
  "steps of another plan or run are computed": 1_890, "frames of an earlier run are computed": 1_890,
};

vi.setConfig({ testTimeout: 900_000 });

function found(bug: Bug, scenario: (seed: number) => Scenario, first: number): Violation | undefined {
  for (let seed = first; seed < first + SEEDS_A_BUG; seed += 1) {
    const { violation } = new World(scenario(seed), bug).run();
    if (violation) return violation;
  }
  return undefined;
}

describe("planted bugs are caught", () => {
  it.each(Object.entries<Bug>(bugs))("%s", (name, bug) => {
    expect(found(bug, scenarioOf, FIRST_SEED[name] ?? 1)).toBeDefined();
  });

  it.each(Object.entries<Bug>(streamingBugs))("%s", (name, bug) => {
    expect(found(bug, streamingScenarioOf, FIRST_SEED[name] ?? 1)).toBeDefined();
  });
});
