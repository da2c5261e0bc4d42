/**
 * Gathers the facts about this machine that `machine-checks.ts` judges. Only looks: nothing is changed, no question takes longer
 * than a few seconds, and a tool that is missing or refuses leaves its fact unknown.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { isAlive } from "../core/process-identity.js";
import { readRunFile } from "../core/run-file.js";
import type { FirewallFact, MachineFacts, MulticastFact, PortFact, PowerFact } from "./machine-facts.js";
import { parseNftables } from "./nftables.js";
import { portHolder } from "./port-holder.js";
import { portState } from "./port-state.js";
import { linuxPower, parseFirewalld, parseMeminfo, parsePmset, parseSocketFilter, parseSwapUsage, parseUfw } from "./system-output.js";

const run = promisify(execFile);
const askTimeoutMs = 5_000;
const outputBytesMax = 8 << 20;

export interface ProbeOptions {
  readonly home: string;
  readonly ports: readonly Omit<PortFact, "state">[];
  readonly nodeVersionMin: string;
  readonly modelBytes: number | undefined;
  readonly systemService: boolean;
  /** Sends to oneself and listens; undefined when multicast is switched off. */
  readonly multicast: (() => Promise<readonly MulticastFact[]>) | undefined;
}

export async function probeMachine(options: ProbeOptions): Promise<MachineFacts> {
  const { home } = options;
  const darwin = process.platform === "darwin";
  const portsToReach = options.ports.filter((port) => port.setting !== "http_port" || port.host !== "127.0.0.1").map((port) => port.port);
  const [ports, disk, clock, firewalls, power, multicast, memory, macosVersion] = await Promise.all([
    portFacts(home, options.ports), diskFact(home), darwin ? darwinClock() : linuxClock(),
    darwin ? darwinFirewall() : linuxFirewalls(portsToReach), darwin ? darwinPower() : linuxPowerFact(),
    options.multicast?.(), memoryFact(), darwin ? ask("sw_vers", "-productVersion") : "",
  ]);
  return {
    platform: process.platform, arch: process.arch, nodeVersion: process.versions.node, nodeVersionMin: options.nodeVersionMin,
    macosVersion: macosVersion?.trim() ?? "", ports, home, disk, memory, modelBytes: options.modelBytes, clock, multicast, firewalls, power,
    systemService: options.systemService,
  };
}

/** @returns what it printed, whatever its exit code (`systemctl is-enabled` fails for "masked"); undefined when it could not be run. */
async function ask(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    return (await run(command, args, { timeout: askTimeoutMs, maxBuffer: outputBytesMax, env: { ...process.env, LC_ALL: "C" } })).stdout;
  } catch (error) {
    const { stdout } = error as { readonly stdout?: unknown };
    return typeof stdout === "string" && stdout.trim() !== "" ? stdout : undefined;
  }
}

async function portFacts(home: string, ports: ProbeOptions["ports"]): Promise<PortFact[]> {
  const agent = readRunFile(home, "agent");
  const worker = readRunFile(home, "worker");
  const own = new Set([...(agent && isAlive(agent) ? [agent.port, agent.httpPort] : []), ...(worker && isAlive(worker) ? [worker.port] : [])]);
  return await Promise.all(ports.map(async (port) => {
    const { free, code } = await portState(port.host, port.port);
    if (free) return { ...port, state: "free" as const };
    if (own.has(port.port)) return { ...port, state: "minid" as const };
    if (code !== "EADDRINUSE") return { ...port, state: "forbidden" as const };
    const holder = await portHolder(port.port);
    return { ...port, state: "taken" as const, ...(holder === undefined ? {} : { holder }) };
  }));
}

async function diskFact(home: string): Promise<MachineFacts["disk"]> {
  let place = home;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  try {
    const { bavail, blocks, bsize } = await statfs(place);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, writable: statSync(place).isDirectory() && canWrite(place) };
  } catch {
    return undefined;
  }
}

function canWrite(path: string): boolean {
  try { accessSync(path, constants.W_OK); return true; } catch { return false; }
}

async function memoryFact(): Promise<MachineFacts["memory"]> {
  if (process.platform === "darwin") {
    const swapUsedBytes = parseSwapUsage(await ask("sysctl", "-n", "vm.swapusage") ?? "");
    return { totalBytes: totalmem(), availableBytes: freemem(), ...(swapUsedBytes !== undefined && { swapUsedBytes }) };
  }
  const text = await readFile("/proc/meminfo", "utf8").catch(() => "");
  const [available, swapTotal, swapFree] = ["MemAvailable", "SwapTotal", "SwapFree"].map((name) => parseMeminfo(text, name));
  return { totalBytes: totalmem(), availableBytes: available ?? freemem(), ...(swapTotal !== undefined && swapFree !== undefined && { swapUsedBytes: swapTotal - swapFree }) };
}

async function linuxClock(): Promise<MachineFacts["clock"]> {
  const wallMs = Date.now();
  const timedatectl = (await ask("timedatectl", "show", "--property=NTPSynchronized", "--value"))?.trim();
  if (timedatectl === "yes" || timedatectl === "no") return { wallMs, synchronized: timedatectl === "yes", detail: "timedatectl" };
  const chrony = await ask("chronyc", "-n", "tracking");
  if (chrony !== undefined) return { wallMs, synchronized: /Leap status\s+: Normal/u.test(chrony), detail: "chronyc" };
  if (existsSync("/run/systemd/timesync/synchronized")) return { wallMs, synchronized: true, detail: "systemd-timesyncd" };
  return { wallMs, synchronized: undefined, detail: "neither timedatectl nor chronyc answers" };
}

async function darwinClock(): Promise<MachineFacts["clock"]> {
  const text = await ask("systemsetup", "-getusingnetworktime");
  const on = /Network Time: (On|Off)/u.exec(text ?? "")?.[1];
  return { wallMs: Date.now(), synchronized: on === undefined ? undefined : on === "On", detail: on === undefined ? "systemsetup answers root only" : "systemsetup" };
}

async function linuxFirewalls(ports: readonly number[]): Promise<FirewallFact[]> {
  const [ufw, firewalldState, nft] = await Promise.all([ask("ufw", "status"), ask("firewall-cmd", "--state"), ask("nft", "-j", "list", "ruleset")]);
  const found: FirewallFact[] = [];
  if (ufw !== undefined) found.push(parseUfw(ufw, ports));
  if (firewalldState !== undefined) found.push(parseFirewalld(firewalldState, await ask("firewall-cmd", "--list-ports") ?? "", ports));
  // Both of those fill nftables, whose rules then only repeat in many chains what they say in one line.
  const nftables = found.some((each) => each.active) ? undefined : parseNftables(nft ?? "", ports);
  return nftables ? [...found, nftables] : found;
}

async function darwinFirewall(): Promise<FirewallFact[]> {
  const tool = "/usr/libexec/ApplicationFirewall/socketfilterfw";
  const state = await ask(tool, "--getglobalstate");
  return state === undefined ? [] : [parseSocketFilter(state, await ask(tool, "--getblockall") ?? "")];
}

async function darwinPower(): Promise<PowerFact> {
  return parsePmset(await ask("pmset", "-g", "custom") ?? "");
}

async function linuxPowerFact(): Promise<PowerFact> {
  const [sleepTarget, defaultTarget, idleAction] = await Promise.all([
    ask("systemctl", "is-enabled", "sleep.target"), ask("systemctl", "get-default"),
    ask("busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "IdleAction"),
  ]);
  let kernelStates: string | undefined;
  try { kernelStates = readFileSync("/sys/power/state", "latin1"); } catch { kernelStates = undefined; }
  return linuxPower({ kernelStates, sleepTarget, defaultTarget, idleAction, hasLid: existsSync("/proc/acpi/button/lid") });
}
