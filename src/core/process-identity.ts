/**
 * Which process a pid means. Pids are reused, so nothing of ours is ever killed by pid alone: the start time must match too.
 * Linux reads /proc; macOS asks `ps`. Deliberately no process groups and no names: both can belong to somebody else.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** From `processStartTime`. */
  readonly startTime: string;
}

const psTimeoutMs = 2_000;

/** A text that differs between two processes that have the same pid one after the other; empty when there is no such process (a zombie is none). */
export function processStartTime(pid: number): string {
  if (!Number.isSafeInteger(pid) || pid <= 0) return "";
  return process.platform === "linux" ? linuxStartTime(pid) : psStartTime(pid);
}

/** 0 when there is no such process. */
export function parentPid(pid: number): number {
  if (process.platform === "linux") return Number(linuxStat(pid)?.[1] ?? 0);
  return Number(ps(pid, "ppid=") || 0);
}

/** `stopped`: there, but halted by a signal (SIGSTOP, Ctrl-Z, a debugger). A zombie is gone. */
export function processState(identity: ProcessIdentity): "running" | "stopped" | "gone" {
  if (!isAlive(identity)) return "gone";
  const state = process.platform === "linux" ? linuxStat(identity.pid)?.[0] ?? "" : ps(identity.pid, "stat=");
  return /^[Tt]/u.test(state) ? "stopped" : "running";
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identity.startTime !== "" && processStartTime(identity.pid) === identity.startTime;
}

/** SIGKILL, unless that process is already gone. @returns whether the signal was sent. */
export function killProcess(identity: ProcessIdentity, signal: NodeJS.Signals = "SIGKILL"): boolean {
  if (identity.pid === process.pid || !isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

function linuxStartTime(pid: number): string {
  const fields = linuxStat(pid);
  if (!fields || fields[0] === "Z" || fields[0] === "X") return "";
  return `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()}/${fields[19] ?? ""}`;
}

/** proc_pid_stat(5) from field 3 on: [0] state, [1] ppid, [19] starttime. */
function linuxStat(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may hold anything: fields are counted from behind it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

function psStartTime(pid: number): string {
  const [state = "", ...started] = ps(pid, "stat=,lstart=").split(/\s+/u);
  return state.startsWith("Z") ? "" : started.join(" ");
}

function ps(pid: number, columns: string): string {
  try {
    return execFileSync("ps", ["-o", columns, "-p", String(pid)], { encoding: "utf8", timeout: psTimeoutMs, env: { LC_ALL: "C", PATH: "/bin:/usr/bin" } }).trim();
  } catch {
    // `ps` exits with 1 when there is no such process.
    return "";
  }
}
