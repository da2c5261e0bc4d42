/**
 * What three idle nodes cost: processor time and resident memory of each agent and worker over a minute, on one machine.
 * `npm run bench:idle [seconds]`; prints a table and one line of JSON. Processor time is counted by the system, so that other
 * work on the machine hardly changes it. Linux: reads /proc.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { startCluster } from "../test/support/cluster.js";

const settleMs = 15_000;
const goal = { coreShare: 0.01, rssBytes: 120e6 };
const minute = Number(process.argv[2] ?? 60) * 1_000;

interface Reading { readonly atMs: number; readonly cpuMs: number; readonly rssBytes: number; readonly anonymousBytes: number; readonly switches: number }

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
const kilobytes = (status: string, key: string): number => 1_024 * Number(new RegExp(`^${key}:\\s+(\\d+)`, "mu").exec(status)?.[1] ?? 0);

function read(pid: number): Reading {
  // After the name in parentheses: state is field 3, utime 14, stime 15.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /u, "").split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const switches = Number(/^voluntary_ctxt_switches:\s+(\d+)/mu.exec(status)?.[1] ?? 0);
  return { atMs: performance.now(), cpuMs: 1_000 * (Number(fields[11]) + Number(fields[12])) / ticksPerSecond, rssBytes: kilobytes(status, "VmRSS"), anonymousBytes: kilobytes(status, "RssAnon"), switches };
}

const cluster = await startCluster({ nodes: 3, settings: { threads: 1 } });
try {
  const leader = await cluster.leader();
  await delay(settleMs);
  const processes = await Promise.all(cluster.nodes.flatMap((node) => (["agent", "worker"] as const).map(async (part) => ({ name: `${part} of ${node.name}${node === leader ? " (rank 0)" : ""}`, part, pid: await node.pid(part) }))));
  const before = processes.map(({ pid }) => read(pid));
  await delay(minute);
  const rows = processes.map(({ name, part, pid }, index) => {
    const [from, to] = [before[index]!, read(pid)];
    const seconds = (to.atMs - from.atMs) / 1_000;
    return { name, part, coreShare: (to.cpuMs - from.cpuMs) / 1_000 / seconds, wakesPerSecond: (to.switches - from.switches) / seconds, rssBytes: to.rssBytes, anonymousBytes: to.anonymousBytes };
  });
  console.log(`three nodes idle for ${minute / 1_000} s, load average ${loadavg()[0]?.toFixed(1)}`);
  for (const { name, coreShare, wakesPerSecond, rssBytes, anonymousBytes } of rows) {
    console.log(`${name.padEnd(26)} ${(100 * coreShare).toFixed(2).padStart(5)} % of a core  ${wakesPerSecond.toFixed(0).padStart(4)} wake-ups/s  ${(rssBytes / 1e6).toFixed(0).padStart(4)} MB resident, ${(anonymousBytes / 1e6).toFixed(0)} MB of it private`);
  }
  const agents = rows.filter(({ part }) => part === "agent");
  const met = agents.every(({ coreShare, rssBytes }) => coreShare < goal.coreShare && rssBytes < goal.rssBytes);
  console.log(`goal for agents (under ${100 * goal.coreShare} % of a core and ${goal.rssBytes / 1e6} MB): ${met ? "met" : "missed"}`);
  console.log(JSON.stringify({ rows }));
} finally {
  await cluster.stop();
}
