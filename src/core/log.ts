/**
 * Structured logs: one JSON object a line. Prompts, answers, keys and join tokens are never logged; with `log_content` the front door
 * adds prompts and answers, in lines of their own.
 */
import { join } from "node:path";
import { pino } from "pino";
import { RotatingFile } from "./rotating-file.js";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}

export interface LogFiles {
  readonly home: string;
  readonly bytesMax: number;
  readonly filesMax: number;
}

/**
 * @param name the process: `agent`, `worker`.
 * @param files where its lines go: `<home>/logs/<name>.log`, rotated; without: standard output.
 */
export function createLog(name: string, level: LogLevel = "info", files?: LogFiles): Log {
  const options = { name, level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) } };
  if (!files) return pino(options);
  const { home, bytesMax, filesMax } = files;
  const file = new RotatingFile({
    path: join(home, "logs", `${name}.log`), bytesMax, filesMax,
    lostLine: (lines) => `${JSON.stringify({ level: "warn", time: new Date().toISOString(), pid: process.pid, name, lines, msg: "lines were lost: the disk did not take them" })}\n`,
  });
  process.once("exit", () => { file.closeSync(); });
  return pino(options, { write: (line: string) => { file.write(line); } });
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child() { return silentLog; } };
