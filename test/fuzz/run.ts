/**
 * Runs the cases of one surface. Faults are errors that a case throws, rejections that nobody handles and exceptions that nobody catches
 * while it runs; a hang is the caller's to see, by `onProgress` standing still.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { caseRandom } from "./mutate.js";
import type { Surface } from "./surface.js";

export interface SurfaceReport {
  readonly name: string;
  readonly cases: number;
  readonly seconds: number;
  /** The slowest case: the machine's load is in it. */
  readonly slowestMs: number;
  readonly slowestIndex: number;
  readonly faults: readonly { readonly index: number; readonly what: string }[];
}

export interface RunOptions {
  readonly seed: number;
  readonly first: number;
  readonly cases: number;
  readonly onProgress?: (index: number) => void;
}

/** Unhandled rejections show when the event loop turns. */
const turnEvery = 200;
const faultsMax = 20;

export async function runSurface(surface: Surface, { seed, first, cases, onProgress }: RunOptions): Promise<SurfaceReport> {
  const faults: { index: number; what: string }[] = [];
  let index = first;
  const fault = (error: unknown): void => { faults.push({ index, what: error instanceof Error ? error.stack ?? error.message : String(error) }); };
  const target = await surface.open();
  process.on("unhandledRejection", fault);
  process.on("uncaughtException", fault);
  const startedAt = performance.now();
  let slowestMs = 0;
  let slowestIndex = first;
  try {
    for (; index < first + cases && faults.length < faultsMax; index += 1) {
      onProgress?.(index);
      const at = performance.now();
      try {
        const running = target.run(caseRandom(seed, surface.name, index));
        if (running) await running;
      } catch (error) { fault(error); }
      const tookMs = performance.now() - at;
      if (tookMs > slowestMs) { slowestMs = tookMs; slowestIndex = index; }
      if ((index - first) % turnEvery === turnEvery - 1) await nextTurn();
    }
    await nextTurn();
  } finally {
    await target.close?.();
    process.off("unhandledRejection", fault);
    process.off("uncaughtException", fault);
  }
  return { name: surface.name, cases: index - first, seconds: (performance.now() - startedAt) / 1_000, slowestMs, slowestIndex, faults };
}
