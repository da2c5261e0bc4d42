/** What a process uses, as the kernel says. Linux tells everything; elsewhere `ps` tells its memory and processor time. */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";

export interface ProcessUse {
  readonly rssBytes: number;
  /** Processor time since its start, user and system. */
  readonly cpuMs: number;
  readonly threads?: number;
  readonly fds?: number;
  readonly sockets?: number;
}

/** USER_HZ: 100 on every Linux that Node runs on. */
const tickMs = 10;

/** @returns undefined when there is no such process any more. */
export function processUse(pid: number): ProcessUse | undefined {
  try {
    return process.platform === "linux" ? linuxUse(pid) : psUse(pid);
  } catch {
    return undefined;
  }
}

function linuxUse(pid: number): ProcessUse {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "mu").exec(status)?.[1]);
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // proc_pid_stat(5) from field 3 on: [11] utime, [12] stime.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => { try { return readlinkSync(`/proc/${pid}/fd/${fd}`); } catch { return ""; } });
  const rssKilobytes = field("VmRSS");
  if (!Number.isFinite(rssKilobytes)) throw new Error("a process that is ending has no memory");
  return {
    rssBytes: rssKilobytes * 1_024, threads: field("Threads"), fds: links.length, sockets: links.filter((link) => link.startsWith("socket:")).length,
    cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
  };
}

function psUse(pid: number): ProcessUse {
  const [rss = "", time = ""] = execFileSync("ps", ["-o", "rss=,time=", "-p", String(pid)], { encoding: "utf8", env: { LC_ALL: "C", PATH: "/bin:/usr/bin" } }).trim().split(/\s+/u);
  const seconds = time.split(/[:-]/u).reduce((sum, part) => sum * 60 + Number(part), 0);
  return { rssBytes: Number(rss) * 1_024, cpuMs: seconds * 1_000 };
}
