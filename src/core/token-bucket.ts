/** A token bucket as pure arithmetic: what is in it now, and how long until it holds what is wanted. Time is an argument. */

export interface BucketPolicy {
  /** How much at once after a pause; what the bucket holds when full. */
  readonly burst: number;
  readonly perSecond: number;
}

/** @param level may be below zero: a debt, which is paid off before anything is there again. */
export interface Bucket { readonly level: number; readonly atMs: number }

/** @returns the bucket at `nowMs`; a new one is full. A clock that goes back adds nothing. */
export function filled(bucket: Bucket | undefined, { burst, perSecond }: BucketPolicy, nowMs: number): Bucket {
  if (!bucket) return { level: burst, atMs: nowMs };
  return { level: Math.min(burst, bucket.level + Math.max(0, nowMs - bucket.atMs) / 1_000 * perSecond), atMs: Math.max(nowMs, bucket.atMs) };
}

/** @returns seconds until the bucket holds `wanted`, or as much as it can; 0 when it does. */
export function secondsUntil({ level }: Bucket, { burst, perSecond }: BucketPolicy, wanted: number): number {
  return Math.max(0, (Math.min(wanted, burst) - level) / perSecond);
}

export const less = (bucket: Bucket, amount: number): Bucket => ({ ...bucket, level: bucket.level - amount });
