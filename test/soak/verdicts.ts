/** What may grow how much, and the table of what did. */
import { type Measure, type Series, measures } from "./samples.js";
import { type Allowance, type Gathering, type Trend, secondHalf, trend } from "./slope.js";

/**
 * An hour's growth as a share of the level, and growth over the judged half. Memory: what an agent of 120 MB may take in 30 minutes and
 * lose again. Latency depends on what else the machine does; processor time does not.
 */
const allowances: Readonly<Record<Measure, Allowance & { readonly unit: string; readonly gathering?: Gathering }>> = {
  rss: { perHour: 0.1, growth: 6, unit: "MB" }, heap: { perHour: 0.15, growth: 4, unit: "MB" }, external: { perHour: 0.15, growth: 4, unit: "MB" },
  fds: { perHour: 0.1, growth: 4, unit: "" }, sockets: { perHour: 0.1, growth: 4, unit: "" }, threads: { perHour: 0.1, growth: 2, unit: "" },
  timers: { perHour: 0.1, growth: 5, unit: "" }, handles: { perHour: 0.1, growth: 5, unit: "" }, requests: { perHour: 0.1, growth: 5, unit: "" },
  kv: { perHour: 0.1, growth: 6, unit: "MB" }, files: { perHour: 0.1, growth: 5, unit: "", gathering: "median" },
  slots: { perHour: 0.1, growth: 1, unit: "" }, reserved: { perHour: 0.1, growth: 256, unit: "tokens" }, cached: { perHour: 0.1, growth: 1_024, unit: "tokens" },
  msPerToken: { perHour: 0.5, growth: 20, unit: "ms", gathering: "median" }, cpuPerToken: { perHour: 0.25, growth: 3, unit: "ms", gathering: "median" },
};
/** Of processes that died meanwhile the one is compared with the other, and not each with itself: they differ by their stages. */
const restartedPerHour = 0.5;

export interface Row { readonly node: string; readonly kind: string; readonly measure: Measure; readonly unit: string; readonly lives: number; readonly trend: Trend | undefined }

export function rowsOf(series: readonly Series[]): Row[] {
  return [...series].sort((a, b) => compare(a.node, b.node) || compare(a.kind, b.kind) || measures.indexOf(a.measure) - measures.indexOf(b.measure)).map(({ node, kind, measure, points, lives }) => {
    const { unit, gathering = "floor", ...allowance } = allowances[measure];
    const begin = secondHalf(points)[0]?.atMs ?? 0;
    const restarted = lives.some((since) => since > begin);
    return {
      node, kind, measure, unit, lives: lives.length,
      trend: restarted ? trend(points, { ...allowance, perHour: Math.max(restartedPerHour, allowance.perHour) }, "median") : trend(points, allowance, gathering),
    };
  });
}

const compare = (a: string, b: string): number => Number(a > b) - Number(a < b);
const shown = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));
const signed = (value: number): string => `${value < 0 ? "" : "+"}${shown(value)}`;

/** Second half of the run: first and last value, growth an hour, how steadily. */
export function rowLines(rows: readonly Row[]): string[] {
  return [
    "| node | process | processes | measure | from | to | an hour | share | tau | |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...rows.map(({ node, kind, measure, unit, lives, trend: of }) => {
      const name = unit === "" ? measure : `${measure}, ${unit}`;
      if (!of) return `| ${node} | ${kind} | ${lives} | ${name} | | | | | | too few looks |`;
      return `| ${node} | ${kind} | ${lives === 0 ? "" : lives} | ${name} | ${shown(of.from)} | ${shown(of.to)} | ${signed(of.perHour)} | ${signed(of.sharePerHour * 100)} % | ${of.tau.toFixed(2)} | ${of.grows ? "GROWS" : "flat"} |`;
    }),
  ];
}
