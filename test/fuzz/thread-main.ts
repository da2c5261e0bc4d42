/** One surface in a thread of its own, so that a case that never ends can be seen and ended from outside. */
import { parentPort, workerData } from "node:worker_threads";
import { runSurface } from "./run.js";
import { surfaceNamed } from "./surfaces.js";

interface ThreadData { readonly surface: string; readonly seed: number; readonly first: number; readonly cases: number; readonly progress: SharedArrayBuffer }

const { surface, seed, first, cases, progress } = workerData as ThreadData;
const counter = new Int32Array(progress);
const report = await runSurface(surfaceNamed(surface), { seed, first, cases, onProgress: (index) => { Atomics.store(counter, 0, index); } });
parentPort?.postMessage(report, []);
