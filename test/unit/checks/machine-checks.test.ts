import { describe, expect, it } from "vitest";
import { renderFinding, runChecks, worstOf } from "../../../src/checks/check.js";
import { compareVersions, machineChecks } from "../../../src/checks/machine-checks.js";
import type { MachineFacts } from "../../../src/checks/machine-facts.js";

const gib = 2 ** 30;
const well: MachineFacts = {
  platform: "linux", arch: "x64", nodeVersion: "20.20.2", nodeVersionMin: "20.19.0", macosVersion: "",
  ports: [{ setting: "http_port", host: "127.0.0.1", port: 8100, state: "free" }, { setting: "agent_port", host: "0.0.0.0", port: 50_050, state: "minid" }],
  home: "/var/lib/minid", disk: { freeBytes: 100 * gib, totalBytes: 200 * gib, writable: true },
  memory: { totalBytes: 16 * gib, availableBytes: 8 * gib, swapUsedBytes: 0 }, modelBytes: gib,
  clock: { wallMs: Date.UTC(2026, 10, 25), synchronized: true, detail: "timedatectl" },
  multicast: [{ interface: "eth0", address: "10.0.0.1", heard: true }],
  firewalls: [{ name: "nftables", active: false, letsIn: undefined }],
  power: { idleSleep: "never", detail: "sleep.target is masked" }, systemService: true,
};
const found = (change: Partial<MachineFacts>) => runChecks(machineChecks, { ...well, ...change }).filter((finding) => finding.severity !== "ok");
const codes = (change: Partial<MachineFacts>) => found(change).map((finding) => `${finding.severity} ${finding.code}`);

describe("the checks of a machine", () => {
  it("find nothing on a machine that is well", () => {
    expect(found({})).toEqual([]);
    expect(worstOf(runChecks(machineChecks, well))).toBe("ok");
  });

  it.each<[string, Partial<MachineFacts>]>([
    ["error node_version", { nodeVersion: "18.20.4" }],
    ["error architecture", { arch: "ia32" }],
    ["error architecture", { platform: "win32" }],
    ["error port_taken", { ports: [{ setting: "worker_port", host: "0.0.0.0", port: 50_051, state: "taken" }] }],
    ["error port_taken", { ports: [{ setting: "http_port", host: "10.9.9.9", port: 80, state: "forbidden" }] }],
    ["warning disk_space", { disk: { freeBytes: gib, totalBytes: 200 * gib, writable: true } }],
    ["error disk_space", { disk: { freeBytes: 1_000, totalBytes: 200 * gib, writable: true } }],
    ["error disk_space", { disk: { freeBytes: 100 * gib, totalBytes: 200 * gib, writable: false } }],
    ["error memory_small", { memory: { totalBytes: gib / 2, availableBytes: 0 } }],
    ["warning memory_small", { modelBytes: 15 * gib }],
    ["warning swap_used", { memory: { totalBytes: 16 * gib, availableBytes: 0, swapUsedBytes: 3 * gib } }],
    ["error clock_unsynchronized", { clock: { wallMs: 0, synchronized: true, detail: "" } }],
    ["warning clock_unsynchronized", { clock: { ...well.clock, synchronized: false } }],
    ["info clock_unsynchronized", { clock: { ...well.clock, synchronized: undefined } }],
    ["warning mdns_deaf", { multicast: [{ interface: "en0", address: "10.0.0.1", heard: false }] }],
    ["warning mdns_deaf", { multicast: [] }],
    ["warning firewall", { firewalls: [{ name: "ufw", active: true, letsIn: false }] }],
    ["info firewall", { firewalls: [{ name: "nftables", active: true, letsIn: undefined }] }],
    ["info local_network_privacy", { platform: "darwin", arch: "arm64", macosVersion: "15.1", systemService: false }],
    ["warning sleep_enabled", { power: { idleSleep: "possible", detail: "sleep 10" } }],
    ["warning no_autorestart", { power: { idleSleep: "never", autorestart: false, detail: "sleep 0" } }],
  ])("%s", (expected, change) => {
    expect(codes(change)).toEqual([expected]);
    if (!expected.startsWith("info")) expect(found(change)[0]?.meaning).not.toBe("");
  });

  it("exempt a LaunchDaemon from Local Network privacy, and older systems", () => {
    expect(codes({ platform: "darwin", arch: "arm64", macosVersion: "15.1" })).toEqual([]);
    expect(codes({ platform: "darwin", arch: "arm64", macosVersion: "14.7", systemService: false })).toEqual([]);
  });

  it("name Local Network privacy where a Mac is deaf", () => {
    expect(found({ platform: "darwin", arch: "arm64", macosVersion: "15.1", multicast: [{ interface: "en0", address: "10.0.0.1", heard: false }] })[0]?.remedy).toContain("Local Network");
  });

  it("are shown with what was seen, what it means and what to do", () => {
    expect(renderFinding(found({ nodeVersion: "18.0.0" })[0]!)).toBe([
      "ERROR    node_version: Node.js 18.0.0, at least 20.19.0 is needed",
      "         minid uses parts of Node.js that older releases do not have.",
      "         -> Install the current LTS release of Node.js (https://nodejs.org), then run this again with it.",
    ].join("\n"));
  });

  it("compare versions by number", () => {
    expect(compareVersions("20.9.0", "20.19.0")).toBeLessThan(0);
    expect(compareVersions("22.0", "20.19.5")).toBeGreaterThan(0);
    expect(compareVersions("20.19", "20.19.0")).toBe(0);
  });
});
