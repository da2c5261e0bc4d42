import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Minutes of work each. Begun first, so that none of them is left alone at the end while the other core is idle. */
const longest = ["sim/simulation", "onnx/bit-stability", "integration/serving", "integration/cluster", "sim/streaming", "chaos/chaos", "chaos/reattach", "integration/network", "worker/ring", "worker/process", "api/api", "reference"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const index = longest.findIndex((part) => moduleId.includes(`/${part}`));
      return index < 0 ? longest.length : index;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    // Suites that need more than a plain machine, or more time, have commands of their own: MINID_SUITE=browser, ops, hostile, disk.
    include: [`test/${process.env["MINID_SUITE"] ?? "{unit,sim,integration,chaos,fuzz}"}/**/*.test.ts`],
    // Engines and real processes on small, shared machines: generous, because waits are for conditions.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Two cores: more workers only make each other late.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
  },
});
