import { describe, expect, it, vi } from "vitest";
import { streamingScenarioOf } from "./scenario.js";
import { World } from "./world.js";

/** `npm run sim -- --streams --seed N --runs M` runs others, and more. */
const SEEDS = 1_000;
const SEEDS_A_TEST = 500;

// Seconds of work on a quiet machine, and minutes where others compute.
vi.setConfig({ testTimeout: 900_000 });

describe("answers that stream through a cluster in trouble", () => {
  it.each(Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, index) => 1 + index * SEEDS_A_TEST))("completes every answer as if nothing had happened, seeds %i and the five hundred after", (first) => {
    let interruptions = 0;
    for (let seed = first; seed < first + SEEDS_A_TEST; seed += 1) {
      const world = new World(streamingScenarioOf(seed));
      const { violation } = world.run();
      interruptions += world.recoveries.length;
      if (violation) expect.fail(`seed ${seed} breaks a promise: ${violation.message}\nreplay: npm run sim -- --seed ${seed} --runs 1 --streams --trace`);
    }
    expect(interruptions).toBeGreaterThan(SEEDS_A_TEST / 4);
  });
});
