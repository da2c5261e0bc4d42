/** Whether this machine is being slowed down just now: by swapping, by heat. Two looks a second apart, at counters of the system. */
import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { PaceLook } from "../../checks/node-facts.js";
import { sleep } from "../../core/clock.js";

const run = promisify(execFile);
const askTimeoutMs = 3_000;
const betweenMs = 1_000;

export async function lookAtPace(): Promise<PaceLook> {
  const before = await counters();
  await sleep(betweenMs);
  const after = await counters();
  const swapped = before.swapped === undefined || after.swapped === undefined ? undefined : (after.swapped - before.swapped) * 1_000 / betweenMs;
  const events = before.throttled === undefined || after.throttled === undefined ? 0 : after.throttled - before.throttled;
  return { swappedPagesPerSecond: swapped, throttled: events > 0 ? `the processor throttled itself ${events} times within a second` : process.platform === "darwin" ? await darwinThrottled() : await linuxCooling() };
}

interface Counters { readonly swapped: number | undefined; readonly throttled: number | undefined }

async function counters(): Promise<Counters> {
  if (process.platform === "darwin") {
    const text = await run("vm_stat", [], { timeout: askTimeoutMs }).then(({ stdout }) => stdout, () => "");
    return { swapped: sumOf(text, /^Swap(?:ins|outs):\s+(\d+)/gmu), throttled: undefined };
  }
  const vmstat = await readFile("/proc/vmstat", "latin1").catch(() => "");
  return { swapped: sumOf(vmstat, /^pswp(?:in|out) (\d+)/gmu), throttled: await linuxThrottleCount() };
}

function sumOf(text: string, pattern: RegExp): number | undefined {
  const found = [...text.matchAll(pattern)];
  return found.length === 0 ? undefined : found.reduce((sum, [, digits]) => sum + Number(digits), 0);
}

/** x86: how often each core throttled itself since the start. */
async function linuxThrottleCount(): Promise<number | undefined> {
  const root = "/sys/devices/system/cpu";
  const cores = (await readdir(root).catch(() => [])).filter((name) => /^cpu\d+$/u.test(name));
  const counts = await Promise.all(cores.map(async (core) => Number(await readFile(join(root, core, "thermal_throttle", "core_throttle_count"), "latin1").catch(() => Number.NaN))));
  const known = counts.filter(Number.isFinite);
  return known.length === 0 ? undefined : known.reduce((sum, count) => sum + count, 0);
}

/** The kernel's own cooling: a processor that is a cooling device in a state above 0 runs slower than it can. */
async function linuxCooling(): Promise<string | undefined> {
  const root = "/sys/class/thermal";
  for (const name of (await readdir(root).catch(() => [])).filter((each) => each.startsWith("cooling_device"))) {
    const text = (file: string): Promise<string> => readFile(join(root, name, file), "latin1").then((found) => found.trim(), () => "");
    const [type, state, max] = await Promise.all([text("type"), text("cur_state"), text("max_state")]);
    if (/^(?:Processor|cpufreq|cpu|thermal-cpufreq|intel_powerclamp)/u.test(type) && Number(state) > 0) return `the kernel cools ${type} down: step ${state} of ${max}`;
  }
  return undefined;
}

/** `pmset -g therm`: `CPU_Speed_Limit = 70`. */
async function darwinThrottled(): Promise<string | undefined> {
  const text = await run("pmset", ["-g", "therm"], { timeout: askTimeoutMs }).then(({ stdout }) => stdout, () => "");
  return speedLimitOf(text);
}

export function speedLimitOf(text: string): string | undefined {
  const limit = /CPU_Speed_Limit\s*=\s*(\d+)/u.exec(text)?.[1];
  return limit === undefined || Number(limit) >= 100 ? undefined : `pmset: the processor is limited to ${limit} % of its speed`;
}
