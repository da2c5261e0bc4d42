import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { notifySystemd } from "../../../src/cli/systemd-notify.js";
import { until } from "../../support/wait.js";

let scratch = "";
beforeEach(() => { scratch = mkdtempSync(join(tmpdir(), "minid-service-")); });
afterEach(() => rmSync(scratch, { recursive: true, force: true }));


describe("the service templates", () => {
  it("give every stop the time that pm2 gives the processes", () => {
    const unit = readFileSync("systemd/minid.service.template", "utf8");
    const plist = readFileSync("launchd/dev.minid.plist.template", "utf8");
    const kill = Number(execFileSync(process.execPath, ["-p", `Math.max(...require("./ecosystem.config.cjs").apps.map((app) => app.kill_timeout))`], { encoding: "utf8", env: { ...process.env, MINID_HOME: scratch } })) / 1_000;
    expect(Number(/^TimeoutStopSec=(\d+)$/mu.exec(unit)?.[1])).toBeGreaterThan(kill);
    expect(Number(/<key>ExitTimeOut<\/key>\s*<integer>(\d+)</u.exec(plist)?.[1])).toBeGreaterThan(kill);
  });
});

describe("notifying systemd", () => {
  it("says ready once the agent answers, keeps the watchdog fed while it does, and then no longer", async () => {
    const told = join(scratch, "told");
    writeFileSync(join(scratch, "systemd-notify"), `#!/bin/sh\necho "$2" >> ${told}\n`);
    chmodSync(join(scratch, "systemd-notify"), 0o755);
    let well = false;
    const states = () => (existsSync(told) ? readFileSync(told, "utf8").trim().split("\n") : []);
    const problems: string[] = [];
    const stop = notifySystemd({
      environment: { PATH: `${scratch}${delimiter}${process.env["PATH"]}`, NOTIFY_SOCKET: "/nowhere", WATCHDOG_USEC: "150000" },
      isWell: async () => well, onProblem: (message) => problems.push(message),
    });
    well = true;
    await until("the watchdog is fed", () => states().filter((state) => state === "WATCHDOG=1").length >= 2);
    expect(states()[0]).toBe("READY=1");
    stop();
    await until("it says that it stops", () => states().at(-1) === "STOPPING=1");
    expect(problems).toEqual([]);
  });
});
