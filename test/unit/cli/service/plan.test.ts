import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "plist";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fillTemplate, filledIn, homeOf, powerBefore, userOf } from "../../../../src/cli/service/definition.js";
import { execute } from "../../../../src/cli/service/execute.js";
import { planInstall, planUninstall } from "../../../../src/cli/service/plan.js";
import { type ServicePlatform, type ServiceSeen, type ServiceSpec, definitionPath, sleepDefinitionPath } from "../../../../src/cli/service/spec.js";
import { renderStep, type Step } from "../../../../src/cli/service/step.js";
import { launchdSchema } from "../../../support/launchd-schema.js";
import { type ServiceTools, serviceTools } from "../../../support/service-tools.js";

const service = (platform: ServicePlatform) => readFileSync(platform === "linux" ? "systemd/minid.service.template" : "launchd/dev.minid.plist.template", "utf8");
const sleep = readFileSync("systemd/minid-sleep.service.template", "utf8");
const template = (platform: ServicePlatform) => ({ service: service(platform), sleep });
const fresh: ServiceSeen = { definition: undefined, sleepDefinition: undefined, loaded: false, enabled: false, runningVersion: undefined, packageVersion: "0.1.0", pmset: undefined };

let scratch: string;
let tools: ServiceTools;
let agent: Server;
let url: string;
beforeAll(async () => {
  agent = createServer((_, response) => { response.end("{}"); });
  await new Promise<void>((resolve) => { agent.listen(0, "127.0.0.1", resolve); });
  url = `http://127.0.0.1:${(agent.address() as { port: number }).port}`;
});
afterAll(() => { agent.close(); });
beforeEach(() => { scratch = mkdtempSync(join(tmpdir(), "minid-install-")); tools = serviceTools(scratch); });
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const spec = (platform: ServicePlatform, change: Partial<ServiceSpec> = {}): ServiceSpec => ({
  platform, node: tools.node, root: "/opt/minid", home: "/var/lib/minid", user: { name: "minid", home: "/var/lib/minid", make: platform === "linux" },
  flags: [], joins: false, keepAwake: false, fetchMlx: false, pull: undefined, url, ...change,
});

/** Runs the plan against the recorders. @returns what is then seen. */
async function carryOut(steps: readonly Step[], platform: ServicePlatform, joinToken?: string): Promise<ServiceSeen> {
  await execute(steps, {
    onStep: () => undefined, destination: tools.destination, environment: tools.environment, joinToken,
    account: (name) => (name === "root" || platform === "darwin" || tools.has("user") ? { name, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, home: "/var/lib/minid" } : undefined),
  });
  const content = (path: string) => (existsSync(join(tools.destination, path)) ? readFileSync(join(tools.destination, path), "utf8") : undefined);
  return { ...fresh, definition: content(definitionPath[platform]), sleepDefinition: content(sleepDefinitionPath), loaded: tools.has("loaded"), enabled: tools.has("enabled"), runningVersion: tools.has("loaded") ? "0.1.0" : undefined };
}

const installed = async (platform: ServicePlatform, change: Partial<ServiceSpec> = {}) => carryOut(planInstall(spec(platform, change), fresh, template(platform)), platform);

describe("installing on Linux", () => {
  it("makes user, home and unit, and starts it now and at boot", async () => {
    const seen = await installed("linux");
    expect(tools.calls().map((call) => call.split(" ").slice(0, 2).join(" "))).toEqual(["useradd --system", "systemctl daemon-reload", "systemctl enable", "systemctl restart"]);
    expect(seen).toMatchObject({ loaded: true, enabled: true });
    expect(statSync(join(tools.destination, "/var/lib/minid")).mode & 0o777).toBe(0o700);
    expect(statSync(join(tools.destination, definitionPath.linux)).mode & 0o777).toBe(0o644);
    expect(tools.warnings()).toBe("");
  });

  it("does nothing to a service that is as wanted", async () => {
    const seen = await installed("linux");
    tools.forgetCalls();
    await carryOut(planInstall(spec("linux", { user: { name: "minid", home: "/var/lib/minid", make: false } }), seen, template("linux")), "linux");
    expect(tools.calls()).toEqual([]);
  });

  it("restarts for a new version, and rereads a changed unit first", async () => {
    const seen = await installed("linux");
    const existing = { user: { name: "minid", home: "/var/lib/minid", make: false } };
    tools.forgetCalls();
    await carryOut(planInstall(spec("linux", existing), { ...seen, packageVersion: "0.2.0" }, template("linux")), "linux");
    expect(tools.calls()).toEqual(["systemctl restart minid.service"]);
    tools.forgetCalls();
    await carryOut(planInstall(spec("linux", { ...existing, flags: ["--http-port", "8200"] }), seen, template("linux")), "linux");
    expect(tools.calls()).toEqual(["systemctl daemon-reload", "systemctl restart minid.service"]);
  });

  it("goes on from where it stopped", async () => {
    writeFileSync(join(scratch, "bin/systemctl"), "#!/bin/sh\necho 'no bus' >&2; exit 1\n");
    const steps = planInstall(spec("linux"), fresh, template("linux"));
    await expect(carryOut(steps, "linux")).rejects.toMatchObject({ code: "step_failed", message: expect.stringContaining("systemctl daemon-reload") });
    await expect(carryOut(steps, "linux")).rejects.toMatchObject({ message: expect.stringContaining("useradd") });
    const works = serviceTools(scratch);
    expect(works.has("user")).toBe(true);
    const seen = await carryOut(planInstall(spec("linux", { user: { name: "minid", home: "/var/lib/minid", make: false } }), fresh, template("linux")), "linux");
    expect(seen.loaded).toBe(true);
  });

  it("joins before the first start, with the token on standard input and nowhere else", async () => {
    const steps = planInstall(spec("linux", { joins: true }), fresh, template("linux"));
    await carryOut(steps, "linux", "minid1:s3cr3t");
    expect(tools.token()).toBe("minid1:s3cr3t");
    expect([...tools.calls(), ...steps.map(renderStep), JSON.stringify(steps)].join("\n")).not.toContain("s3cr3t");
    expect(tools.calls().findIndex((call) => call.includes(" join - "))).toBeLessThan(tools.calls().indexOf("systemctl restart minid.service"));
  });

  it("leaves nothing but the home, which belongs to root then; and not even that when purged", async () => {
    const seen = await installed("linux", { keepAwake: true });
    const removal = { platform: "linux" as const, definition: seen.definition, sleepDefinition: seen.sleepDefinition, loaded: true, home: homeOf(seen.definition ?? "") ?? "", ownUser: true };
    const purge = planUninstall({ ...removal, purge: true });
    await carryOut(planUninstall({ ...removal, purge: false }), "linux");
    expect([definitionPath.linux, sleepDefinitionPath].filter((path) => existsSync(join(tools.destination, path)))).toEqual([]);
    expect([tools.has("loaded"), tools.has("enabled"), tools.has("user")]).toEqual([false, false, false]);
    expect(tools.calls()).toContain("systemctl unmask sleep.target suspend.target hibernate.target hybrid-sleep.target");
    expect(existsSync(join(tools.destination, "/var/lib/minid"))).toBe(true);
    await carryOut(purge, "linux");
    expect(existsSync(join(tools.destination, "/var/lib/minid"))).toBe(false);
  });

  it.runIf(spawnSync("systemd-analyze", ["--version"]).error === undefined)("writes a unit that systemd accepts, whatever the paths hold", () => {
    const odd = { home: join(scratch, 'odd $HOME 100% "h\\x;'), root: process.cwd(), node: process.execPath, user: { name: "root", home: "/root", make: false }, flags: ["--model", "a b"] };
    const unit = join(scratch, "minid.service");
    writeFileSync(unit, fillTemplate(spec("linux", odd), service("linux"), fresh));
    const sleepUnit = join(scratch, "minid-sleep.service");
    writeFileSync(sleepUnit, filledIn(spec("linux", odd), sleep));
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", unit, sleepUnit], { encoding: "utf8" });
    expect(stderr.split("\n").filter((line) => line.includes(scratch))).toEqual([]);
    expect(status).toBe(0);
    expect(homeOf(readFileSync(unit, "utf8"))).toBe(odd.home);
    expect(userOf(readFileSync(unit, "utf8"))).toBe("root");
  });

  it("refuses what no unit can carry", () => {
    expect(() => fillTemplate(spec("linux", { home: "/a\nExecStartPre=/bin/evil" }), service("linux"), fresh)).toThrow(/control character/u);
  });
});

describe("installing on macOS", () => {
  it("writes a plist whose keys launchd has, and bootstraps it", async () => {
    const seen = await installed("darwin", { home: "/Users/a&b/<minid>", fetchMlx: true });
    const plist = launchdSchema.parse(parse(seen.definition ?? ""));
    expect(plist).toMatchObject({ RunAtLoad: true, KeepAlive: true, ProcessType: "Interactive", UserName: "minid", SoftResourceLimits: { NumberOfFiles: 65_536 } });
    expect(plist.ProgramArguments).toEqual([tools.node, "/opt/minid/dist/cli/main.js", "up", "--home", "/Users/a&b/<minid>"]);
    expect(homeOf(seen.definition ?? "")).toBe("/Users/a&b/<minid>");
    expect(tools.calls().slice(-2)).toEqual(["launchctl enable system/dev.minid", "launchctl bootstrap system /Library/LaunchDaemons/dev.minid.plist"]);
    expect(seen.loaded).toBe(true);
  });

  it("waits until a changed service is gone before it comes back", async () => {
    const seen = await installed("darwin");
    tools.forgetCalls();
    const again = await carryOut(planInstall(spec("darwin", { flags: ["--http-port", "8200"] }), seen, template("darwin")), "darwin");
    expect(tools.calls()).toEqual([
      "launchctl bootout system/dev.minid", "launchctl print system/dev.minid", "launchctl print system/dev.minid", "launchctl print system/dev.minid",
      "launchctl enable system/dev.minid", "launchctl bootstrap system /Library/LaunchDaemons/dev.minid.plist",
    ]);
    expect(again.loaded).toBe(true);
  });

  it("kicks an unchanged one for a new version, and lets one that is as wanted be", async () => {
    const seen = await installed("darwin");
    tools.forgetCalls();
    await carryOut(planInstall(spec("darwin"), seen, template("darwin")), "darwin");
    expect(tools.calls()).toEqual([]);
    await carryOut(planInstall(spec("darwin"), { ...seen, packageVersion: "0.2.0" }, template("darwin")), "darwin");
    expect(tools.calls()).toEqual(["launchctl kickstart -k system/dev.minid"]);
  });

  it("remembers the power settings in the plist over upgrades, and gives them back", async () => {
    const before = { sleep: 10, autorestart: 0, womp: 1 };
    const seen = await carryOut(planInstall(spec("darwin", { keepAwake: true }), { ...fresh, pmset: before }, template("darwin")), "darwin");
    expect(tools.calls()).toContain("pmset -a sleep 0 autorestart 1 womp 1");
    const upgraded = await carryOut(planInstall(spec("darwin", { flags: ["--http-port", "8200"] }), { ...seen, pmset: { sleep: 0, autorestart: 1, womp: 1 } }, template("darwin")), "darwin");
    expect(powerBefore(upgraded.definition ?? "")).toEqual(before);
    launchdSchema.parse(parse(upgraded.definition ?? ""));
    await carryOut(planUninstall({ platform: "darwin", definition: upgraded.definition, sleepDefinition: undefined, loaded: true, home: "/var/lib/minid", ownUser: false, purge: false }), "darwin");
    expect(tools.calls().at(-1)).toBe("pmset -a sleep 10 autorestart 0 womp 1");
    expect(tools.has("loaded")).toBe(false);
    expect(existsSync(join(tools.destination, definitionPath.darwin))).toBe(false);
  });
});

describe("the recorders", () => {
  it.each([["launchctl", "reload"], ["systemctl", "destroy"], ["launchctl", "bootstrap"], ["pmset", "-a", "slep", "0"]])("fail on what the tool does not have: %s %s", (tool, ...args) => {
    expect(spawnSync(join(scratch, "bin", tool), args).status).not.toBe(0);
  });
});

describe("showing the steps", () => {
  it("shows every file and command", () => {
    const text = planInstall(spec("linux", { keepAwake: true, pull: "org/name" }), fresh, template("linux")).map(renderStep).join("\n");
    for (const part of ["useradd", "directory /var/lib/minid (0700, owner minid)", "pull org/name", "systemctl mask", "file      /etc/systemd/system/minid.service (0644", "ExecStart=", "systemctl restart minid.service", `until ${url} answers`]) expect(text).toContain(part);
  });
});
