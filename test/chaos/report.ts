/** A chaos run in the lines that a person reads. */
import type { ChaosReport, FaultRecord } from "./run.js";

const seconds = (ms: number | undefined): string => (ms === undefined ? "-" : `${(ms / 1000).toFixed(2)} s`);
const quantile = (sorted: readonly number[], q: number): number | undefined => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

function line(name: string, records: readonly FaultRecord[]): string {
  const times = records.flatMap(({ interruptions }) => interruptions.at(-1) ?? []).sort((a, b) => a - b);
  const first = records.flatMap(({ interruptions }) => interruptions[0] ?? []).sort((a, b) => a - b);
  const through = records.filter(({ survived }) => survived > 0).length;
  return `${name.padEnd(24)} ${String(records.length).padStart(5)} ${String(through).padStart(12)} ${String(times.length).padStart(12)}   ${seconds(quantile(first, 0.5)).padStart(9)} ${seconds(quantile(times, 0.5)).padStart(9)} ${seconds(quantile(times, 0.95)).padStart(9)} ${seconds(times.at(-1)).padStart(9)}`;
}

export function reportLines(report: ChaosReport): string[] {
  const { faults, failures } = report;
  const kinds = [...new Set(faults.map(({ fault, leader }) => `${fault}${leader ? ", rank 0" : ""}`))].sort();
  return [
    `chaos: seed ${report.options.seed}, ${report.options.nodes} nodes, ${report.options.streams} streams, ${(report.wallMs / 60_000).toFixed(1)} min, load average at the end ${report.loadAverage.toFixed(1)}`,
    "of the faults, those that streams lived through, those that interrupted any of them, and the time from the fault until the first and until the last interrupted stream went on",
    `${"fault".padEnd(24)} count  with streams  interrupting  first: med. last: med.       p95     worst`,
    ...kinds.map((kind) => line(kind, faults.filter(({ fault, leader }) => `${fault}${leader ? ", rank 0" : ""}` === kind))),
    line("all", faults),
    `${report.completed} answers, ${report.tokens} tokens, every one compared with the undisturbed run; longest wait ${seconds(report.longestGapMs)}`,
    `${report.cutOff} connections went down with their own front door; ${report.refused} questions were put again to another node`,
    `${failures.length} failures`,
    ...failures.map(({ at, node, question, what }) => `  ${new Date(at).toISOString()} ${node} "${question}": ${what}`),
  ];
}
