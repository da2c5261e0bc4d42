/** An overload run in the lines that a person reads, and what of it is not as it should be. */
import { trend } from "../soak/slope.js";
import type { OverloadReport } from "./overload.js";

const goodputMin = 0.9;
const keptMin = 0.9;
/** Memory under a load that does not change: an hour's growth, and growth in the judged half. */
const memoryAllowance = { perHour: 0.5, growth: 30 };

const quantile = (values: readonly number[], q: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))] ?? 0;
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

export function judge(report: OverloadReport): { readonly lines: readonly string[]; readonly failures: readonly string[] } {
  const { sent, peaks, goodput, memory, options } = report;
  const peak = (peaks[0] + peaks[1]) / 2;
  const fresh = sent.filter(({ told }) => !told);
  const came = sent.filter(({ told }) => told);
  const answered = sent.filter(({ code }) => code === "ok");
  const refused = sent.filter(({ code }) => code === "queue_full");
  const broken = sent.filter(({ code }) => code !== "ok" && code !== "queue_full");
  const untold = refused.filter(({ retryAfterSeconds }) => retryAfterSeconds === undefined);
  const kept = came.length === 0 ? 1 : came.filter(({ code }) => code !== "queue_full").length / came.length;
  const waits = refused.flatMap(({ retryAfterSeconds }) => retryAfterSeconds ?? []);
  const total = answered.map(({ totalMs }) => totalMs);
  // A line of so many, and what runs, at the pace that was measured: nobody who is let in waits longer than twice that.
  const bound = 2 * 1_000 * (1.5 * options.queueMax + 64) / (goodput / Math.max(1, answered.reduce((sum, { tokens }) => sum + tokens, 0) / Math.max(1, answered.length)));
  const failures: string[] = [];
  if (goodput / peak < goodputMin) failures.push(`goodput is ${percent(goodput / peak)} of the peak, less than ${percent(goodputMin)}`);
  if (quantile(total, 0.99) > bound) failures.push(`99 % of the admitted were answered within ${seconds(quantile(total, 0.99))}, later than a line of that length explains (${seconds(bound)})`);
  if (broken.length > 0) failures.push(`${broken.length} requests failed otherwise: ${[...new Set(broken.map(({ code }) => code))].join(", ")}`);
  if (untold.length > 0) failures.push(`${untold.length} refusals without Retry-After`);
  if (report.restarts > 0) failures.push(`${report.restarts} workers or agents were restarted, and nobody had broken them`);
  if (kept < keptMin) failures.push(`of those who waited as told only ${percent(kept)} were let in`);
  for (const kind of ["agent", "worker"] as const) {
    const found = trend(memory.map((point) => ({ atMs: point.atMs, value: point[kind] })), memoryAllowance);
    if (found?.grows) failures.push(`the largest ${kind} grows by ${found.perHour.toFixed(0)} MB an hour`);
  }
  const lines = [
    `overload: seed ${options.seed}, ${options.nodes} nodes, ${options.factor} times the peak for ${(report.wallMs / 60_000).toFixed(1)} min, line of ${options.queueMax}, ${options.burners} other programs at full speed, load average ${report.loads.map((load) => load.toFixed(1)).join(", ")}`,
    `peak ${peaks.map((value) => value.toFixed(1)).join(" before and ")} after, goodput ${goodput.toFixed(1)} tokens/s: ${percent(goodput / peak)}`,
    `${fresh.length} requests came, ${answered.length} were answered, ${refused.length} refused (${percent(refused.length / Math.max(1, sent.length))} of all that was asked)`,
    `admitted: whole answer after ${seconds(quantile(total, 0.5))} at the median, ${seconds(quantile(total, 0.99))} at the 99th percentile; a line of that length explains ${seconds(bound)}`,
    `refused within ${quantile(refused.map(({ totalMs }) => totalMs), 0.99).toFixed(0)} ms at the 99th percentile; Retry-After ${quantile(waits, 0.5)} s at the median, ${Math.max(0, ...waits)} s at most`,
    `of ${came.length} who waited as told ${percent(kept)} were let in`,
    ...(["agent", "worker"] as const).map((kind) => `largest ${kind}: ${memory[0]?.[kind].toFixed(0)} MB at first, ${Math.max(0, ...memory.map((point) => point[kind])).toFixed(0)} MB at most, ${memory.at(-1)?.[kind].toFixed(0)} MB at the end`),
    `${report.restarts} false restarts`,
    failures.length === 0 ? "overload: as it should be" : `overload: ${failures.length} failures`, ...failures.map((failure) => `  ${failure}`),
  ];
  return { lines, failures };
}
