import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Suites that need more than a plain machine, or more time, have commands of their own: MINID_SUITE=browser, ops, hostile.
    include: [`test/${process.env["MINID_SUITE"] ?? "{unit,sim,integration,chaos,fuzz}"}/**/*.test.ts`],
    // Engines and real processes on small, shared machines: generous, because waits are for conditions.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Two cores: more workers only make each other late.
    maxWorkers: 2,
  },
});
