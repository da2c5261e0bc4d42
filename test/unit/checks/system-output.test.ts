import { describe, expect, it } from "vitest";
import { parseNftables } from "../../../src/checks/nftables.js";
import { linuxPower, parseFirewalld, parseMeminfo, parsePmset, parseSocketFilter, parseSwapUsage, parseUfw } from "../../../src/checks/system-output.js";

const ports = [50_050, 50_051];

describe("what the system's tools print", () => {
  it("pmset: what holds on mains power", () => {
    const laptop = "Battery Power:\n sleep                1\n autorestart          0\nAC Power:\n sleep                0\n womp                 1\n autorestart          1\n";
    expect(parsePmset(laptop)).toEqual({ idleSleep: "never", autorestart: true, wakeOnLan: true, detail: "pmset: sleep 0" });
    expect(parsePmset("AC Power:\n sleep                10\n")).toMatchObject({ idleSleep: "possible" });
    expect(parsePmset("").idleSleep).toBeUndefined();
  });

  it("a Linux machine sleeps when it can and something asks for it", () => {
    const server = { kernelStates: "freeze mem disk\n", sleepTarget: "static\n", defaultTarget: "multi-user.target\n", idleAction: 's "ignore"\n', hasLid: false };
    expect(linuxPower(server).idleSleep).toBe("never");
    expect(linuxPower({ ...server, kernelStates: "" }).idleSleep).toBe("never");
    expect(linuxPower({ ...server, defaultTarget: "graphical.target\n" }).idleSleep).toBe("possible");
    expect(linuxPower({ ...server, hasLid: true }).idleSleep).toBe("possible");
    expect(linuxPower({ ...server, idleAction: 's "suspend"\n' }).idleSleep).toBe("possible");
    expect(linuxPower({ ...server, hasLid: true, sleepTarget: "masked\n" }).idleSleep).toBe("never");
    expect(linuxPower({ ...server, sleepTarget: undefined, idleAction: undefined }).idleSleep).toBeUndefined();
  });

  it("socketfilterfw", () => {
    expect(parseSocketFilter("Firewall is disabled. (State = 0)", "")).toMatchObject({ active: false });
    expect(parseSocketFilter("Firewall is enabled. (State = 1)", "Firewall has block all state set to disabled.")).toMatchObject({ active: true, letsIn: undefined });
    expect(parseSocketFilter("Firewall is enabled. (State = 2)", "")).toMatchObject({ active: true, letsIn: false });
  });

  it("ufw and firewalld, ranges included", () => {
    expect(parseUfw("Status: inactive\n", ports).active).toBe(false);
    expect(parseUfw("Status: active\n\n22/tcp  ALLOW  Anywhere\n50050:50051/tcp  ALLOW  192.168.1.0/24\n", ports)).toMatchObject({ active: true, letsIn: true });
    expect(parseUfw("Status: active\n\n50050/tcp  ALLOW  Anywhere\n", ports).letsIn).toBe(false);
    expect(parseFirewalld("running\n", "22/tcp 50050-50051/tcp\n", ports)).toMatchObject({ active: true, letsIn: true });
    expect(parseFirewalld("running\n", "\n", ports).letsIn).toBe(false);
  });

  it("memory", () => {
    expect(parseSwapUsage("total = 2048.00M  used = 1.50M  free = 2046.50M  (encrypted)")).toBe(1.5 * 2 ** 20);
    expect(parseMeminfo("MemTotal:  100 kB\nSwapFree:    7 kB\n", "SwapFree")).toBe(7_168);
  });
});

describe("nftables", () => {
  const chain = (policy: string) => ({ chain: { family: "inet", table: "filter", name: "input", hook: "input", policy } });
  const rule = (...expr: object[]) => ({ rule: { family: "inet", table: "filter", chain: "input", expr } });
  const dport = (right: unknown) => ({ match: { op: "==", left: { payload: { protocol: "tcp", field: "dport" } }, right } });
  const established = { match: { op: "in", left: { ct: { key: "state" } }, right: ["established", "related"] } };
  const read = (...items: object[]) => parseNftables(JSON.stringify({ nftables: [{ metainfo: {} }, ...items] }), ports);

  it("filters nothing without an input chain that drops", () => {
    expect(read()).toBeUndefined();
    expect(read(chain("accept"))).toBeUndefined();
    expect(parseNftables("not json", ports)).toBeUndefined();
  });

  it("lets in what a rule accepts by number, set or range", () => {
    expect(read(chain("drop"), rule(established, { accept: null }), rule(dport({ set: [22, { range: [50_050, 50_060] }] }), { accept: null }))?.letsIn).toBe(true);
    expect(read(chain("drop"), rule(dport(50_050), { accept: null }))?.letsIn).toBe(false);
  });

  it("sees a port refused by a rule of its own", () => {
    expect(read(chain("accept"), rule(dport(50_051), { drop: null }))?.letsIn).toBe(false);
  });

  it("does not guess where rules jump or have conditions of their own", () => {
    expect(read(chain("drop"), rule({ jump: { target: "services" } }))?.letsIn).toBeUndefined();
    expect(read(chain("drop"), rule({ match: { op: "==", left: { meta: { key: "iifname" } }, right: "eth1" } }, dport({ range: [50_050, 50_051] }), { accept: null }))?.letsIn).toBeUndefined();
  });
});
