import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type * as Pm2 from "../../../src/cli/pm2.js";
import { isAlive } from "../../../src/core/process-identity.js";
import { readRunFile, type RunFile } from "../../../src/core/run-file.js";
import { compiled, compiledPath } from "../../support/compiled.js";
import { until } from "../../support/wait.js";

const { choosePm2Home, clearHome, pm2Environment, startPm2Runtime } = await compiled<typeof Pm2>("cli/pm2.js");

/** Apps as small as they can be, which follow the rules for apps: announce yourself, exit on SIGTERM, and when pm2 is gone, also if it went while you started. */
const appSource = `
import { announceSelf } from ${JSON.stringify(compiledPath("core/run-file.js"))};
process.on("disconnect", () => process.exit(0));
if (!process.connected) process.exit(0);
process.on("SIGTERM", () => process.exit(0));
setInterval(() => {}, 1000);
console.log("hello from " + process.env.MINID_ROLE + " " + (process.env.SECRET_KEY ?? "without secrets"));
announceSelf(process.env.MINID_HOME, process.env.MINID_ROLE, { incarnation: String(process.pid), port: 0 });
`;

let scratch = "";
let home = "";
let ecosystemDist = "";

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-pm2-")));
  home = join(scratch, "home");
  ecosystemDist = join(scratch, "dist");
  for (const directory of ["daemon", "worker"]) {
    mkdirSync(join(ecosystemDist, directory), { recursive: true });
    writeFileSync(join(ecosystemDist, directory, "main.js"), appSource);
  }
  writeFileSync(join(ecosystemDist, "package.json"), '{"type":"module"}');
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const start = (env: NodeJS.ProcessEnv = {}) => startPm2Runtime({ home, env: { MINID_DIST: ecosystemDist, SECRET_KEY: "s3cret", ...env }, stdio: "log" });
const running = (role: "agent" | "worker", not?: RunFile) => until(`${role} runs`, () => {
  const found = readRunFile(home, role);
  return found && isAlive(found) && found.pid !== not?.pid ? found : undefined;
});

describe("pm2-runtime", () => {
  it("starts no programs to measure the machine with", async () => {
    const bin = join(scratch, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "df"), `#!/bin/sh\necho called >> ${join(scratch, "df-calls")}\n`, { mode: 0o755 });
    const runtime = start({ PATH: `${bin}:${process.env["PATH"] ?? ""}` });
    try {
      await running("worker");
    } finally {
      await runtime.stop();
    }
    expect(existsSync(join(scratch, "df-calls"))).toBe(false);
  });

  it("brings a killed worker back, leaves the agent alone, and leaves nothing behind when stopped", async () => {
    const runtime = start();
    try {
      const [agent, worker] = [await running("agent"), await running("worker")];
      process.kill(worker.pid, "SIGKILL");
      const successor = await running("worker", worker);
      expect(isAlive(agent)).toBe(true);
      expect(await runtime.stop()).toBe(0);
      expect([agent, worker, successor].filter(isAlive)).toEqual([]);
      expect(readFileSync(join(home, "logs", "agent.out.log"), "utf8")).toContain("hello from agent without secrets");
      expect(readFileSync(join(home, "logs", "pm2.log"), "utf8")).not.toContain("hello from agent");
      expect(readRunFile(home, "pm2")).toBeUndefined();
    } finally {
      await runtime.stop();
    }
  });

  it("takes its apps along when it is killed", async () => {
    const runtime = start();
    const apps = [await running("agent"), await running("worker")];
    runtime.child.kill("SIGKILL");
    expect(await runtime.exited).toBe(137);
    await until("both apps are gone", () => !apps.some(isAlive));
  });

  it("goes when the process that started it is killed", async () => {
    const starter = spawn(process.execPath, ["--input-type=module", "-e", `
      import { startPm2Runtime } from ${JSON.stringify(compiledPath("cli/pm2.js"))};
      startPm2Runtime({ home: ${JSON.stringify(home)}, env: { MINID_DIST: ${JSON.stringify(ecosystemDist)} }, stdio: "ignore" });`], { stdio: "ignore" });
    const processes = [await running("agent"), await running("worker"), await until("pm2 runs", () => readRunFile(home, "pm2"))];
    starter.kill("SIGKILL");
    await until("pm2 and both apps are gone", () => !processes.some(isAlive));
  });

  it("refuses a home in use, and clears one whose stopped worker outlived a killed pm2", async () => {
    const runtime = start();
    const worker = await running("worker");
    await running("agent");
    await expect(clearHome(home)).rejects.toMatchObject({ code: "home_unusable" });
    process.kill(worker.pid, "SIGSTOP");
    runtime.child.kill("SIGKILL");
    await runtime.exited;
    await clearHome(home);
    expect(isAlive(worker)).toBe(false);
  });

  it("keeps its sockets in a short private directory when the home's path is too long, and removes it", async () => {
    home = join(scratch, "a-directory-with-a-long-name".repeat(4));
    const pm2Home = choosePm2Home(home);
    expect(Buffer.byteLength(join(pm2Home, "interactor.sock"))).toBeLessThan(104);
    const runtime = start();
    await running("agent");
    expect(statSync(pm2Home).mode & 0o777).toBe(0o700);
    expect(await runtime.stop()).toBe(0);
    expect(existsSync(pm2Home)).toBe(false);
  });

  it("passes on no keys of pm2's own service and no settings of another pm2", () => {
    const env = pm2Environment({ PATH: "/bin", SECRET_KEY: "a", PM2_PUBLIC_KEY: "b", KEYMETRICS_SECRET: "c", pm_id: "3", PM2_HOME: "/elsewhere" }, "/home/m", "/home/m/pm2");
    expect(env).toMatchObject({ PATH: "/bin", PM2_HOME: "/home/m/pm2", MINID_HOME: "/home/m", PM2_DISABLE_VERSION_CHECK: "1" });
    expect(Object.keys(env).filter((name) => /SECRET|PUBLIC_KEY|pm_id/u.test(name))).toEqual([]);
  });
});
