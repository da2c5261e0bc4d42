/**
 * `<home>/run/<role>.json`: which process plays a role in a home just now, so that its supervisor, the CLI and its own
 * successor find it. A file may outlive its process: `process-identity.ts` tells.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type ProcessIdentity, processStartTime } from "./process-identity.js";
import { replaceFile } from "./replace-file.js";

export type Role = "agent" | "worker" | "standby" | "pm2";

export interface RunFile extends ProcessIdentity {
  /** Fresh for every process; what Probe answers. */
  readonly incarnation: string;
  /** The port it serves on the loopback or the network; 0 when it serves none. */
  readonly port: number;
  /** The agent's HTTP port, for the CLI. */
  readonly httpPort?: number;
}

const pathOf = (home: string, role: Role): string => join(home, "run", `${role}.json`);

export function writeRunFile(home: string, role: Role, content: RunFile): void { replaceFile(pathOf(home, role), `${JSON.stringify(content)}\n`); }

/** Announces the calling process. A disk that takes no file must not keep a process from serving: it is then found by other ways, or later. */
export function announceSelf(home: string, role: Role, self: Omit<RunFile, "pid" | "startTime">): RunFile {
  const content: RunFile = { pid: process.pid, startTime: processStartTime(process.pid), ...self };
  try {
    writeRunFile(home, role, content);
  } catch (error) {
    process.emitWarning(`${pathOf(home, role)} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
  return content;
}

/** @returns undefined when there is no file, or none that can be understood. */
export function readRunFile(home: string, role: Role): RunFile | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(pathOf(home, role), "utf8"));
    return isRunFile(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Removes the file if it still names `pid`: a successor's stays. */
export function removeRunFile(home: string, role: Role, pid: number): void {
  if (readRunFile(home, role)?.pid === pid) rmSync(pathOf(home, role), { force: true });
}

function isRunFile(value: unknown): value is RunFile {
  if (typeof value !== "object" || value === null) return false;
  const { pid, startTime, incarnation, port } = value as Partial<Record<keyof RunFile, unknown>>;
  return typeof pid === "number" && Number.isSafeInteger(pid) && pid > 0 && typeof startTime === "string" && typeof incarnation === "string" && typeof port === "number";
}
