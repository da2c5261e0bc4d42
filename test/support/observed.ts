/** How long things took, told in the test's output with how busy the machine was: figures for people, never asserted. */
import { loadavg } from "node:os";

/** @param sinceMs `performance.now()` of the moment to count from. @returns milliseconds. */
export function observed(what: string, sinceMs: number): number {
  const tookMs = performance.now() - sinceMs;
  console.log(`observed: ${what}: ${(tookMs / 1_000).toFixed(1)} s (load ${loadavg()[0]?.toFixed(1)})`);
  return tookMs;
}
