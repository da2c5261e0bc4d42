/**
 * Ends this process when its own event loop is frozen, whoever else may hang: nobody outside restarts a process that does not exit.
 *
 * A thread that never computes watches a counter in shared memory which the loop raises. SIGKILL, not exit(): a frozen loop runs no
 * handlers, and a native call cannot be interrupted. The thread measures stillness only while it runs itself, so that a process
 * stopped by SIGSTOP, a sleeping machine or one starved of CPU is not taken for a frozen loop.
 * The same thread notices that the parent is gone even if the loop is too busy to hear 'disconnect'.
 */
import { Worker } from "node:worker_threads";

export interface WatchdogOptions {
  /** The loop may stand still this long. Generous: synchronous work in the loop is slow at worst, a freeze is for ever. */
  readonly stillMsMax: number;
  /** Also end the process when its parent is gone (pm2 was killed) and it has not ended by itself within `stillMsMax`. */
  readonly withParent?: boolean;
}

/** Handed to the thread; `counter` is one Int32. */
export interface WatchdogData { readonly counter: SharedArrayBuffer; readonly stillMsMax: number; readonly parentPid: number | undefined; readonly checkIntervalMs: number }

const beatsPerBound = 8;

/** @returns stops watching. Does not keep the process alive. */
export function startWatchdog(options: WatchdogOptions): () => Promise<void> {
  const counter = new SharedArrayBuffer(4);
  const beats = new Int32Array(counter);
  const intervalMs = Math.max(10, options.stillMsMax / beatsPerBound);
  const beating = setInterval(() => { Atomics.add(beats, 0, 1); }, intervalMs);
  beating.unref();
  const workerData: WatchdogData = { counter, stillMsMax: options.stillMsMax, parentPid: options.withParent ? process.ppid : undefined, checkIntervalMs: intervalMs };
  const thread = new Worker(new URL("./watchdog-thread.js", import.meta.url), { workerData, execArgv: [] });
  thread.unref();
  return async () => {
    clearInterval(beating);
    await thread.terminate();
  };
}

/** Calls `stop` once when the supervisor that started this process is gone. Nothing happens in a process without one. */
export function onSupervisorGone(stop: () => void): void {
  if (process.env["pm_id"] === undefined) return;
  if (!process.connected) { stop(); return; }
  process.once("disconnect", stop);
}
