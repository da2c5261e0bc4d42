/**
 * What a worker process is told: only where it lives and listens. What it computes comes with Load. The names are those of the
 * agent's configuration in the environment; the agent's JSON file is read by whoever starts both.
 */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { MinidError } from "../core/errors.js";
import type { LogFiles, LogLevel } from "../core/log.js";
import type { EngineName } from "./engines/engine.js";

export interface WorkerSettings {
  readonly home: string;
  readonly host: string;
  /** 0 takes a free one, which `<home>/run/worker.json` then names. */
  readonly port: number;
  readonly logLevel: LogLevel;
  /** Absent without pm2: then it talks to the terminal. */
  readonly logFiles: LogFiles | undefined;
  /** No TLS: tests only. */
  readonly insecure: boolean;
  /** Started as the second of two (ecosystem.config.cjs). */
  readonly standby: boolean;
  /** For weights and cache, where the machine's owner has set a limit. */
  readonly memoryBytesMax: number | undefined;
  /** Whose library is loaded ahead of the first Load. */
  readonly engine: EngineName;
}

const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const satisfies readonly LogLevel[];
const portMax = 65_535;
/** As in the agent's table of settings. */
const logBytesMaxDefault = 16 << 20;
const logFilesMaxDefault = 5;

/** @throws MinidError config_invalid */
export function workerSettings(environment: Readonly<Record<string, string | undefined>>): WorkerSettings {
  const home = environment["MINID_HOME"] ?? join(homedir(), ".minid");
  if (!isAbsolute(home)) throw new MinidError("config_invalid", `MINID_HOME is "${home}": it must be an absolute path`);
  const portText = environment["MINID_WORKER_PORT"] ?? "50051";
  const port = Number(portText);
  if (portText.trim() === "" || !Number.isInteger(port) || port < 0 || port > portMax) throw new MinidError("config_invalid", `MINID_WORKER_PORT is "${portText}": it must be a port number`);
  const levelText = environment["MINID_LOG_LEVEL"] ?? "info";
  const logLevel = logLevels.find((level) => level === levelText);
  if (!logLevel) throw new MinidError("config_invalid", `MINID_LOG_LEVEL is "${levelText}": it must be one of ${logLevels.join(", ")}`);
  const logFiles = environment["pm_id"] === undefined ? undefined : { home, bytesMax: wholeNumber(environment, "MINID_LOG_BYTES_MAX", logBytesMaxDefault), filesMax: wholeNumber(environment, "MINID_LOG_FILES_MAX", logFilesMaxDefault) };
  const memoryBytesMax = environment["MINID_MEMORY_BYTES_MAX"] === undefined ? undefined : wholeNumber(environment, "MINID_MEMORY_BYTES_MAX", 0);
  return { memoryBytesMax, home, port, logLevel, logFiles, host: environment["MINID_GRPC_HOST"] ?? "0.0.0.0", insecure: environment["MINID_INSECURE"] === "1", standby: environment["MINID_ROLE"] === "standby", engine: engineName(environment["MINID_ENGINE"]) };
}

function wholeNumber(environment: Readonly<Record<string, string | undefined>>, name: string, otherwise: number): number {
  const value = Number(environment[name] ?? otherwise);
  if (!Number.isSafeInteger(value) || value < 1) throw new MinidError("config_invalid", `${name} is "${environment[name]}": it must be a whole number above 0`);
  return value;
}

/** Only a hint, for what can be loaded early: Load names the engine. */
function engineName(text: string | undefined): EngineName {
  if (text === "onnx" || text === "mlx") return text;
  return process.platform === "darwin" && process.arch === "arm64" ? "mlx" : "onnx";
}
