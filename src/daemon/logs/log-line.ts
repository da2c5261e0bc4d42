/** A line of our logs, as readers see it: which machine, which process, how severe, and the fields. Pure. */
import type { LogLevel } from "../../core/log.js";

export const levels = ["trace", "debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];
export type LineLevel = (typeof levels)[number];

export interface LogLine {
  /** ISO 8601; what could not be read keeps its place by the time of the line before it. */
  readonly time: string;
  readonly level: LineLevel;
  /** `agent`, `worker`; `agent.out` and `worker.out` for what is no line of ours: a native library's last words. */
  readonly process: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** The machine; set by whoever asks several. */
  readonly device?: string;
}

export interface LogFilter {
  readonly level: LineLevel;
  /** Only lines that belong to this request. */
  readonly request?: string;
}

/** @param text a line without its break. @returns undefined for an empty one. */
export function readLine(text: string, process: string, timeBefore: string): LogLine | undefined {
  if (text.trim() === "") return undefined;
  let value: unknown;
  try { value = JSON.parse(text); } catch { value = undefined; }
  if (typeof value !== "object" || value === null || !("msg" in value) || typeof value.msg !== "string") return { time: timeBefore, level: "error", process, message: text, fields: {} };
  const { time, level, msg, pid: _pid, name, ...fields } = value as Record<string, unknown>;
  return {
    time: typeof time === "string" ? time : timeBefore,
    level: levels.find((known) => known === level) ?? "info",
    process: typeof name === "string" ? name : process,
    message: String(msg), fields,
  };
}

export function passes(line: LogLine, filter: LogFilter): boolean {
  if (levels.indexOf(line.level) < levels.indexOf(filter.level)) return false;
  return filter.request === undefined || line.fields["requestId"] === filter.request;
}

export const byTime = (a: LogLine, b: LogLine): number => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0);
