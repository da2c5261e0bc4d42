import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { renderLine } from "../../../../src/cli/logs.js";
import { passes, readLine } from "../../../../src/daemon/logs/log-line.js";
import { type TailOptions, tailLogs } from "../../../../src/daemon/logs/tail.js";
import { until } from "../../../support/wait.js";

let home: string;
let stop: AbortController;
beforeEach(() => { home = mkdtempSync(join(tmpdir(), "minid-tail-")); mkdirSync(join(home, "logs")); stop = new AbortController(); });
afterEach(() => { stop.abort(); rmSync(home, { recursive: true, force: true }); });

const path = (name: string) => join(home, "logs", name);
const line = (second: number, msg: string, more: object = {}) => `${JSON.stringify({ level: "info", time: `2026-11-25T00:00:${String(second).padStart(2, "0")}.000Z`, pid: 1, name: "agent", msg, ...more })}\n`;
const options = (change: Partial<TailOptions> = {}): TailOptions => ({ home, lines: 100, follow: false, level: "info", signal: stop.signal, ...change });
const past = async (change: Partial<TailOptions> = {}) => {
  for await (const { lines } of tailLogs(options(change))) return lines.map(({ message }) => message);
  return [];
};

describe("the past of a home's logs", () => {
  it("is all files in the order of time, the one before the current included", async () => {
    writeFileSync(path("agent.log.1"), line(1, "one"));
    writeFileSync(path("agent.log"), line(3, "three"));
    writeFileSync(path("worker.log"), line(2, "two", { name: "worker" }));
    expect(await past()).toEqual(["one", "two", "three"]);
    expect(await past({ lines: 2 })).toEqual(["two", "three"]);
    expect(await past({ lines: 0 })).toEqual([]);
  });

  it("is filtered by severity and by request", async () => {
    writeFileSync(path("agent.log"), line(1, "quiet", { level: "debug" }) + line(2, "loud", { level: "error" }) + line(3, "mine", { requestId: "r1" }));
    expect(await past()).toEqual(["loud", "mine"]);
    expect(await past({ level: "debug" })).toEqual(["quiet", "loud", "mine"]);
    expect(await past({ level: "error" })).toEqual(["loud"]);
    expect(await past({ request: "r1" })).toEqual(["mine"]);
  });

  it("has a native library's last words as errors, where nothing of ours was written", async () => {
    writeFileSync(path("worker.out.log"), "terminate called after throwing an instance of 'std::bad_alloc'\n");
    expect(await past({ level: "error" })).toEqual(["terminate called after throwing an instance of 'std::bad_alloc'"]);
  });

  it("is empty where there are no logs", async () => {
    rmSync(join(home, "logs"), { recursive: true });
    expect(await past()).toEqual([]);
  });
});

describe("following", () => {
  it("gives what is added, whole lines only, through a rotation", async () => {
    writeFileSync(path("agent.log"), line(1, "before"));
    const seen: string[] = [];
    const reading = (async () => { for await (const { lines } of tailLogs(options({ follow: true, lines: 0 }))) seen.push(...lines.map(({ message }) => message)); })();
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    const [first, second] = [line(2, "first"), line(3, "sécond")];
    await until("followed", () => { if (seen.length === 0) appendFileSync(path("agent.log"), first); return seen.length > 0; });
    appendFileSync(path("agent.log"), second.slice(0, 60));
    appendFileSync(path("agent.log"), second.slice(60));
    renameSync(path("agent.log"), path("agent.log.1"));
    writeFileSync(path("agent.log"), line(4, "third"));
    await until("all of it", () => seen.includes("third"));
    expect(seen.filter((message) => message !== "first")).toEqual(["sécond", "third"]);
    stop.abort();
    await reading;
  });
});

describe("a line", () => {
  it("is shown with its fields", () => {
    const read = readLine(line(1, "the ring is lost", { level: "warn", code: "stage_lost", layers: [0, 4] }).trim(), "agent", "");
    expect(read).toBeDefined();
    expect(renderLine({ ...read!, device: "mini1" })).toMatch(/^\d\d:00:01\.000\s+WARN\s+mini1\s+agent\s+the ring is lost\s+code=stage_lost\s+layers=\[0,4\]$/u);
  });

  it("that is none of ours keeps its place and counts as an error", () => {
    expect(readLine("Segmentation fault", "worker.out", "2026-11-25T00:00:00Z")).toEqual({ time: "2026-11-25T00:00:00Z", level: "error", process: "worker.out", message: "Segmentation fault", fields: {} });
    expect(readLine("  ", "agent", "")).toBeUndefined();
    expect(passes(readLine("x", "agent", "")!, { level: "error" })).toBe(true);
  });
});
