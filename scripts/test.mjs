// `npm test`: builds, lints, runs every suite that belongs to it, and prints "N passed, N failed" last.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const run = (command, args) => spawnSync(command, args, { stdio: "inherit" }).status ?? 1;
const npx = (...args) => run(process.execPath, [join("node_modules", ...args.shift().split("/")), ...args]);

let passed = 0;
let failed = 0;
const check = (name, status) => {
  if (status === 0) passed += 1;
  else { failed += 1; console.log(`${name} failed`); }
};

check("build", run(process.execPath, [join("scripts", "build.mjs")]));
check("type check of the tests", npx("typescript/bin/tsc", "-p", "tsconfig.test.json"));
check("lint", npx("oxlint/bin/oxlint", "--type-aware", "src", "test", "bench", "scripts"));

const scratch = mkdtempSync(join(tmpdir(), "minid-test-"));
const report = join(scratch, "report.json");
try {
  const status = npx("vitest/vitest.mjs", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...process.argv.slice(2));
  const result = JSON.parse(readFileSync(report, "utf8"));
  passed += result.numPassedTests;
  failed += result.numFailedTests;
  // A file that fails to load has no failed test of its own.
  if (status !== 0 && result.numFailedTests === 0) failed += Math.max(1, result.numFailedTestSuites);
} catch (error) {
  console.log(`the test report could not be read: ${error.message}`);
  failed += 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
