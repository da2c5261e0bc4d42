import { describe, expect, it } from "vitest";
import { listenersOf } from "../../../../src/checks/port-holder.js";
import { complaintOf, endsOf } from "../../../../src/daemon/doctor/last-words.js";
import { speedLimitOf } from "../../../../src/daemon/doctor/pace.js";
import { parseReport } from "../../../../src/daemon/doctor/report.js";

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
    expect(complaintOf("")).toBe("");
  });
});

describe("what systems print", () => {
  it("names the sockets that listen on a port", () => {
    const table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:C383 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   1: 0100007F:C383 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
    expect(listenersOf(table, 50_051)).toEqual(["socket:[4711]"]);
    expect(listenersOf(table, 50_050)).toEqual([]);
  });

  it("reads pmset's speed limit", () => {
    expect(speedLimitOf("CPU_Scheduler_Limit \t= 100\n CPU_Speed_Limit \t= 70\n")).toContain("70 %");
    expect(speedLimitOf("Note: No thermal warning level has been recorded\n")).toBeUndefined();
  });
});

describe("another machine's report", () => {
  const report = { device: "mini2", nodeId: "b", software: "0.1.0", wallMs: 1, modelId: "m", digests: {}, findings: [{ code: "swapping", severity: "warning", seen: "s", meaning: "m", remedy: "r" }], links: [] };
  it("is taken with what it has, and refused when it is not of the form", () => {
    expect(parseReport(Buffer.from(JSON.stringify({ ...report, later: "releases may add" }))).findings[0]?.code).toBe("swapping");
    expect(() => parseReport(Buffer.from("nonsense"))).toThrow(/not JSON/u);
    expect(() => parseReport(Buffer.from(JSON.stringify({ ...report, findings: [{ code: 7 }] })))).toThrow(/findings/u);
    expect(() => parseReport(Buffer.alloc(2 << 20))).toThrow(/bytes/u);
  });
});
