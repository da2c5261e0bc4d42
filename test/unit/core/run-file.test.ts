import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isAlive, killProcess, parentPid, processStartTime } from "../../../src/core/process-identity.js";
import { announceSelf, readRunFile, removeRunFile, writeRunFile } from "../../../src/core/run-file.js";
import { until } from "../../support/wait.js";

let home = "";
beforeEach(() => { home = mkdtempSync(join(tmpdir(), "minid-run-")); });
afterEach(() => rmSync(home, { recursive: true, force: true }));

describe("a run file", () => {
  it("names the process that announced itself, and nothing else lies about", () => {
    announceSelf(home, "agent", { incarnation: "7", port: 50_050, httpPort: 8_100 });
    expect(readRunFile(home, "agent")).toMatchObject({ pid: process.pid, incarnation: "7", port: 50_050, httpPort: 8_100 });
    expect(isAlive(readRunFile(home, "agent")!)).toBe(true);
    expect(readdirSync(join(home, "run"))).toEqual(["agent.json"]);
  });

  it("is not removed by a predecessor", () => {
    writeRunFile(home, "worker", { pid: 1_234, startTime: "x", incarnation: "new", port: 1 });
    removeRunFile(home, "worker", 999);
    expect(readRunFile(home, "worker")?.incarnation).toBe("new");
    removeRunFile(home, "worker", 1_234);
    expect(readRunFile(home, "worker")).toBeUndefined();
  });

  it.each(["", "{", "[]", '{"pid":-1,"startTime":"","incarnation":"","port":0}', '{"pid":"1"}'])("that is damaged (%j) is as good as none", (text) => {
    mkdirSync(join(home, "run"));
    writeFileSync(join(home, "run", "worker.json"), text);
    expect(readRunFile(home, "worker")).toBeUndefined();
  });

  it("that cannot be written does not stop the process that announces itself", async () => {
    writeFileSync(join(home, "run"), "a file where the directory should be");
    const warning = once(process, "warning");
    expect(announceSelf(home, "worker", { incarnation: "1", port: 1 }).pid).toBe(process.pid);
    expect(String((await warning)[0])).toContain("cannot be written");
  });
});

describe("a process's identity", () => {
  it("holds for as long as the process lives, and kills nobody else", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const identity = { pid: child.pid!, startTime: processStartTime(child.pid!) };
    expect(isAlive(identity)).toBe(true);
    expect(parentPid(identity.pid)).toBe(process.pid);
    expect(killProcess({ ...identity, startTime: "another start" })).toBe(false);
    expect(isAlive(identity)).toBe(true);
    expect(killProcess(identity)).toBe(true);
    await until("it is gone", () => !isAlive(identity));
    expect(killProcess(identity)).toBe(false);
  });

  it("never includes ourselves as somebody to kill", () => {
    expect(killProcess({ pid: process.pid, startTime: processStartTime(process.pid) })).toBe(false);
  });
});
