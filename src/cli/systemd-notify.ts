/**
 * Tells systemd that the node is up and stays well (sd_notify(3)): READY=1 once the agent answers, then WATCHDOG=1 while it goes on
 * answering. systemd restarts everything when that stops: the last resort, after the watchdogs inside agent and worker.
 * Node has no datagram sockets of the UNIX family, so systemd's own `systemd-notify` sends. Does nothing without NOTIFY_SOCKET.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Timers } from "../core/clock.js";

const run = promisify(execFile);
const startingIntervalMs = 500;
const notifyTimeoutMs = 5_000;

export interface SystemdOptions {
  readonly environment: NodeJS.ProcessEnv;
  /** The agent answers: one quick look, which never rejects. */
  readonly isWell: () => Promise<boolean>;
  readonly onProblem: (message: string) => void;
}

/** @returns stops telling, and says STOPPING=1. */
export function notifySystemd(options: SystemdOptions): () => void {
  const { environment, isWell, onProblem } = options;
  if (environment["NOTIFY_SOCKET"] === undefined) return () => undefined;
  const tell = async (state: string): Promise<void> => {
    await run("systemd-notify", [`--pid=${process.pid}`, state], { env: environment, timeout: notifyTimeoutMs });
  };
  const timers = new Timers((_, error) => onProblem(`systemd could not be told: ${error instanceof Error ? error.message : String(error)}`));
  const watchdogMs = Number(environment["WATCHDOG_USEC"] ?? 0) / 1_000;
  timers.every("systemd ready", startingIntervalMs, async () => {
    if (!await isWell()) return;
    timers.cancel("systemd ready");
    if (watchdogMs > 0) timers.every("systemd watchdog", watchdogMs / 3, async () => { if (await isWell()) await tell("WATCHDOG=1"); });
    await tell("READY=1");
  });
  return () => {
    timers.stop();
    tell("STOPPING=1").catch((error: unknown) => onProblem(String(error)));
  };
}
