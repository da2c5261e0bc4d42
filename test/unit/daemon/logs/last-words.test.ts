import { describe, expect, it } from "vitest";
import { complaintOf, endsOf } from "../../../../src/daemon/logs/last-words.js";

const line = (level: string, msg: string): string => JSON.stringify({ level, time: "2026-11-25T21:12:24.666Z", pid: 1, name: "worker", msg });

describe("pm2's log", () => {
  const text = [
    "2026-11-25T21:12:22: PM2 log: App [minid-worker:1] online",
    "2026-11-25T21:12:42: PM2 log: App [minid-worker:1] exited with code [0] via signal [SIGKILL]",
    "2026-11-25T21:12:43: PM2 log: App [minid-agent:0] exited with code [1] via signal [SIGINT]",
    "2026-11-25T21:12:50: PM2 log: App [minid-worker:1] exited with code [1] via signal [SIGINT]",
  ].join("\n");
  // pm2 writes local time.
  const now = new Date("2026-11-25T21:13:00").getTime();

  it("tells how each app last ended, and how often lately", () => {
    expect(endsOf(text, "worker", now)).toEqual({ lastEnd: { agoMs: 10_000, how: "exit code 1" }, endsLately: 2 });
    expect(endsOf(text, "agent", now)).toEqual({ lastEnd: { agoMs: 17_000, how: "exit code 1" }, endsLately: 1 });
    expect(endsOf(text, "standby", now)).toEqual({ lastEnd: undefined, endsLately: 0 });
    expect(endsOf(text, "worker", now + 3_600_000).endsLately).toBe(0);
  });
});

describe("a process's own log", () => {
  it("gives the last complaint of the last life", () => {
    expect(complaintOf([line("info", "worker listening"), "minid worker: port_in_use: 0.0.0.0:50051 is in use", ""].join("\n"))).toBe("port_in_use: 0.0.0.0:50051 is in use");
    expect(complaintOf([line("info", "worker listening"), line("error", "engine_failed: the thread died"), line("info", "x")].join("\n"))).toBe("engine_failed: the thread died");
    expect(complaintOf([line("error", "of a life before"), line("info", "worker listening"), line("info", "stage ready")].join("\n"))).toBe("");
    expect(complaintOf("(node:7) Warning: x\n(Use `node --trace-warnings ...` to show where the warning was created)")).toBe("");
    expect(complaintOf("")).toBe("");
  });
});
