/**
 * Does a measure grow with time? The rule of the soak, pure: the second half of the run is cut into buckets, and what grows steadily over
 * them, by more than its allowance, leaks. Single peaks, one step up and a saw-tooth that comes down again are no growth: the line is
 * Theil and Sen's (the median of the slopes of all pairs), and Kendall's tau says how steadily the buckets follow each other upwards.
 */

export interface Point { readonly atMs: number; readonly value: number }

export interface Allowance {
  /** Growth an hour, as a share of the level: 0.1 is 10 %. */
  readonly perHour: number;
  /** And growth over the judged half, in the measure's own unit. Both must be passed. */
  readonly growth: number;
}

export interface Trend {
  /** Value of the first and the last bucket. */
  readonly from: number;
  readonly to: number;
  /** In the measure's unit an hour. */
  readonly perHour: number;
  /** Share of the level an hour. */
  readonly sharePerHour: number;
  readonly tau: number;
  readonly grows: boolean;
}

/** What a bucket stands for: its lowest value, for what garbage collection saws at; its median, for what differs from process to process. */
export type Gathering = "floor" | "median";

const hourMs = 3_600_000;
const bucketsMax = 12;
const bucketsMin = 5;
/** One step up halfway gives 0.55; a steady ramp 1. */
const tauMin = 0.6;
/** Standard deviations of the tau of chance: few buckets have to agree better. */
const deviationsMin = 2.3;

/** @returns undefined when there are too few points to say anything. */
export function trend(points: readonly Point[], allowance: Allowance, gathering: Gathering = "floor"): Trend | undefined {
  const buckets = gather(secondHalf(points), gathering);
  const [first, last] = [buckets[0], buckets.at(-1)];
  if (!first || !last || buckets.length < bucketsMin) return undefined;
  const slope = theilSen(buckets);
  const level = Math.abs(median(buckets.map(({ value }) => value)));
  const tau = kendallTau(buckets);
  const perHour = slope * hourMs;
  const sharePerHour = level > 0 ? perHour / level : 0;
  const steady = tau >= Math.max(tauMin, deviationsMin * chanceTau(buckets.length));
  const grows = steady && slope * (last.atMs - first.atMs) > allowance.growth && perHour > allowance.perHour * level;
  return { from: first.value, to: last.value, perHour, sharePerHour, tau, grows };
}

export function secondHalf(points: readonly Point[]): readonly Point[] {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return [];
  return points.filter(({ atMs }) => atMs >= (first.atMs + last.atMs) / 2);
}

/** Equal spans of time with three points or more in each, as far as the points are evenly spread; empty ones are left out. */
function gather(points: readonly Point[], gathering: Gathering): Point[] {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || last.atMs <= first.atMs) return [];
  const count = Math.min(bucketsMax, Math.floor(points.length / 3));
  const widthMs = (last.atMs - first.atMs) / count;
  return Array.from({ length: count }, (_, index) => {
    const from = first.atMs + index * widthMs;
    const values = points.filter(({ atMs }) => atMs >= from && (index === count - 1 || atMs < from + widthMs)).map(({ value }) => value);
    return values.length === 0 ? [] : [{ atMs: from + widthMs / 2, value: gathering === "floor" ? Math.min(...values) : median(values) }];
  }).flat();
}

/** @returns units a millisecond. */
export function theilSen(points: readonly Point[]): number {
  return median(pairs(points).map(([a, b]) => (b.value - a.value) / (b.atMs - a.atMs)));
}

/** From -1, falling all the way, to 1, rising all the way. */
export function kendallTau(points: readonly Point[]): number {
  const all = pairs(points);
  return all.length === 0 ? 0 : all.reduce((sum, [a, b]) => sum + Math.sign(b.value - a.value), 0) / all.length;
}

/** Standard deviation of Kendall's tau where there is no trend. */
const chanceTau = (count: number): number => Math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)));

const pairs = (points: readonly Point[]): (readonly [Point, Point])[] => points.flatMap((a, index) => points.slice(index + 1).map((b) => [a, b] as const));

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return (sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2) ?? 0;
}
