import { describe, expect, it } from "vitest";
import { listenersOf } from "../../../../src/checks/port-holder.js";
import { speedLimitOf } from "../../../../src/daemon/doctor/pace.js";
import { parseReport } from "../../../../src/daemon/doctor/report.js";

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
