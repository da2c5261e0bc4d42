/** What log files tell of how a process ended: pm2's own log, and the last complaint in the process's. Pure; the reader is below. */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { crashWindowMs } from "../../checks/node-facts.js";

const tailBytes = 64 << 10;
const wordsMax = 200;

export interface Ends {
  readonly lastEnd: { readonly agoMs: number; readonly how: string } | undefined;
  readonly endsLately: number;
}

/** @param text of pm2.log: `2026-11-25T21:12:42: PM2 log: App [minid-worker:1] exited with code [0] via signal [SIGKILL]`, in local time. */
export function endsOf(text: string, role: "agent" | "worker" | "standby", nowWallMs: number): Ends {
  const pattern = new RegExp(`^(\\S+): PM2 log: App \\[minid-${role}:\\d+\\] exited with code \\[(\\d*)\\] via signal \\[(\\w+)\\]`, "gmu");
  const ends = [...text.matchAll(pattern)].map(([, time = "", code = "", signal = ""]) => ({
    agoMs: nowWallMs - new Date(time).getTime(),
    // pm2 calls every end a signal's; SIGINT stands for none.
    how: code !== "0" && code !== "" ? `exit code ${code}` : signal === "SIGINT" ? "exit code 0" : signal,
  })).filter(({ agoMs }) => Number.isFinite(agoMs));
  return { lastEnd: ends.at(-1), endsLately: ends.filter(({ agoMs }) => agoMs <= crashWindowMs).length };
}

/** A new life begins with the first; the second says that the one before was ended in order. */
const boundary = /^(?:worker listening|waiting for this machine|agent started|agent stopping|worker leaving)/u;

/** Node's own, which nothing ends of. */
const warning = /^\((?:node:\d+\) |Use `node )/u;

/** @param text of agent.log or worker.log. @returns the last complaint since the last healthy sign; empty when there is none. */
export function complaintOf(text: string): string {
  for (const line of text.trimEnd().split("\n").toReversed()) {
    if (line.trim() === "" || line.startsWith("    at ") || warning.test(line)) continue;
    const entry = jsonOf(line);
    if (entry === undefined) return line.replace(/^minid (?:agent|worker): /u, "").slice(0, wordsMax);
    if (boundary.test(entry.msg)) return "";
    if (entry.level === "error") return entry.msg.slice(0, wordsMax);
  }
  return "";
}

function jsonOf(line: string): { readonly level: string; readonly msg: string } | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const { level, msg } = JSON.parse(line) as { readonly level?: unknown; readonly msg?: unknown };
    return { level: String(level), msg: String(msg) };
  } catch {
    // Cut off by the start of what was read, or by the death of who wrote it.
    return { level: "", msg: "" };
  }
}

/**
 * The end of a process's log, and behind it, when that was written later, what it printed besides (`*.out.log`): a native library's
 * last words, the reason why it could not even open its log. @param sinceWallMs what was not written to since then is left out.
 */
export async function wordsOf(home: string, role: "agent" | "worker", sinceWallMs = 0): Promise<string> {
  const hear = async (name: string) => {
    const changedMs = await stat(join(home, "logs", name)).then((found) => found.mtimeMs, () => 0);
    return { changedMs, text: changedMs < sinceWallMs ? "" : await tailOf(home, name) };
  };
  const [own, besides] = await Promise.all([hear(`${role}.log`), hear(`${role}.out.log`)]);
  return besides.changedMs > own.changedMs ? `${own.text}\n${besides.text}` : own.text;
}

/** The end of a file; empty when it cannot be read. */
export async function tailOf(home: string, name: string): Promise<string> {
  try {
    const handle = await open(join(home, "logs", name), "r");
    try {
      const { size } = await handle.stat();
      const length = Math.min(size, tailBytes);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
      return buffer.subarray(0, bytesRead).toString("utf8");
    } finally { await handle.close(); }
  } catch {
    return "";
  }
}
