/** The thread of `watchdog.ts`: sleeps, looks, and kills. It allocates nothing in its loop and calls nothing that can block. */
import { workerData } from "node:worker_threads";
import type { WatchdogData } from "./watchdog.js";

const { counter, stillMsMax, parentPid, checkIntervalMs } = workerData as WatchdogData;
const beats = new Int32Array(counter);
const never = new Int32Array(new SharedArrayBuffer(4));

let lastBeat = Atomics.load(beats, 0);
let stillMs = 0;
let orphanMs = 0;
let before = performance.now();
for (;;) {
  Atomics.wait(never, 0, 0, checkIntervalMs);
  const now = performance.now();
  // A longer gap means that this thread did not run either.
  const passedMs = Math.min(now - before, 2 * checkIntervalMs);
  before = now;
  const beat = Atomics.load(beats, 0);
  stillMs = beat === lastBeat ? stillMs + passedMs : 0;
  lastBeat = beat;
  orphanMs = parentPid === undefined || process.ppid === parentPid ? 0 : orphanMs + passedMs;
  if (stillMs > stillMsMax || orphanMs > stillMsMax) process.kill(process.pid, "SIGKILL");
}
