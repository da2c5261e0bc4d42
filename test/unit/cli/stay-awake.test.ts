import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stayAwake } from "../../../src/cli/stay-awake.js";
import { until } from "../../support/wait.js";

let scratch: string;
beforeEach(() => { scratch = mkdtempSync(join(tmpdir(), "minid-awake-")); });
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

describe("staying awake", () => {
  it("holds a power assertion on a Mac for as long as this process lives, and lets go of it", async () => {
    const [tool, called] = [join(scratch, "caffeinate"), join(scratch, "called")];
    writeFileSync(tool, `#!/bin/sh\ntrap 'echo ended >> ${called}; exit 0' TERM\necho "$@" > ${called}.new; mv ${called}.new ${called}\nwhile :; do sleep 0.05; done\n`);
    chmodSync(tool, 0o755);
    const stop = stayAwake("darwin", () => undefined, tool);
    await until("caffeinate runs", () => existsSync(called));
    expect(readFileSync(called, "utf8").trim()).toBe(`-i -s -w ${process.pid}`);
    stop();
    await until("it ended", () => readFileSync(called, "utf8").includes("ended"));
  });

  it("says so where it cannot, and goes on", async () => {
    const problems: string[] = [];
    stayAwake("darwin", (message) => problems.push(message), join(scratch, "absent"));
    await until("told", () => problems.length > 0);
    expect(problems[0]).toContain("may fall asleep");
  });

  it("has nothing to do on Linux", () => {
    stayAwake("linux", () => { throw new Error("it tried"); }, join(scratch, "absent"))();
  });
});
