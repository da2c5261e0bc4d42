/** A fuzzing run: every surface in its own thread, one after the other, watched for hangs, and the report of it. */
import { Worker } from "node:worker_threads";
import type { RunOptions, SurfaceReport } from "./run.js";
import { type Surface } from "./surface.js";

/** A case that takes longer hangs: cases take microseconds to milliseconds, and the machine may be busy. */
const hangMs = 60_000;
const lookMs = 1_000;

export interface FuzzReport { readonly seed: number; readonly surfaces: readonly (SurfaceReport & { readonly hung?: number })[] }

export async function fuzz(surfaces: readonly Surface[], options: { readonly seed: number; readonly casesOf: (surface: Surface) => number; readonly first?: number; readonly onLine: (line: string) => void }): Promise<FuzzReport> {
  const reports: (SurfaceReport & { hung?: number })[] = [];
  for (const surface of surfaces) {
    const report = await inThread(surface, { seed: options.seed, first: options.first ?? 0, cases: options.casesOf(surface) });
    reports.push(report);
    options.onLine(surfaceLine(report));
    for (const { index, what } of report.faults) options.onLine(`  case ${index} (replay: npm run fuzz -- --surface ${surface.name} --seed ${options.seed} --case ${index}): ${what}`);
  }
  return { seed: options.seed, surfaces: reports };
}

function inThread(surface: Surface, { seed, first, cases }: RunOptions): Promise<SurfaceReport & { hung?: number }> {
  const progress = new SharedArrayBuffer(4);
  const counter = new Int32Array(progress);
  const thread = new Worker(new URL("./thread-main.js", import.meta.url), { workerData: { surface: surface.name, seed, first, cases, progress } });
  return new Promise((resolve) => {
    let at = -1;
    let since = performance.now();
    const startedAt = since;
    const over = (report: SurfaceReport & { hung?: number }): void => { clearInterval(timer); resolve(report); };
    const ended = (what: string, hung?: number): void => {
      const index = Atomics.load(counter, 0);
      over({ name: surface.name, cases: index - first, seconds: (performance.now() - startedAt) / 1_000, slowestMs: performance.now() - since, slowestIndex: index, faults: [{ index, what }], ...(hung === undefined ? {} : { hung }) });
    };
    const timer = setInterval(() => {
      const now = Atomics.load(counter, 0);
      if (now !== at) { at = now; since = performance.now(); return; }
      if (performance.now() - since < hangMs) return;
      void thread.terminate();
      ended(`hung: no end after ${hangMs / 1_000} s`, now);
    }, lookMs);
    thread.on("message", (report: SurfaceReport) => { over(report); });
    thread.on("error", (error) => { ended(`the thread died: ${error.stack ?? error.message}`); });
    thread.on("exit", (code) => { if (code !== 0) ended(`the thread ended with ${code}`); });
  });
}

const surfaceLine = ({ name, cases, seconds, slowestMs, slowestIndex, faults, hung }: SurfaceReport & { readonly hung?: number }): string =>
  `${name.padEnd(20)} ${String(cases).padStart(9)} cases ${seconds.toFixed(1).padStart(8)} s ${(seconds * 1e6 / Math.max(1, cases)).toFixed(0).padStart(8)} us each, slowest ${slowestMs.toFixed(0).padStart(6)} ms (case ${slowestIndex}); ${hung === undefined ? `${faults.length} faults` : "HUNG"}`;

export function fuzzLines({ seed, surfaces }: FuzzReport): string[] {
  const cases = surfaces.reduce((sum, report) => sum + report.cases, 0);
  return [
    `fuzz: seed ${seed}`,
    ...surfaces.map(surfaceLine),
    `${cases} cases over ${surfaces.length} surfaces in ${surfaces.reduce((sum, report) => sum + report.seconds, 0).toFixed(0)} s: ${surfaces.reduce((sum, report) => sum + report.faults.length, 0)} faults, ${surfaces.filter(({ hung }) => hung !== undefined).length} hangs`,
  ];
}
