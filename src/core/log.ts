/** Structured logs: one JSON object a line. Prompts, tokens of text, keys and join tokens are never logged. */
import { pino } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}

/** @param name the process: `agent`, `worker`. Writes to standard output, which pm2 keeps in `<home>/logs`. */
export function createLog(name: string, level: LogLevel = "info"): Log {
  return pino({ name, level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } });
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child() { return silentLog; } };
