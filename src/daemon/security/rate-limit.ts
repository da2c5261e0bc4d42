/**
 * Token buckets for Join: one for each source address and one for all together. Pure: time is an argument.
 * The sources remembered are bounded; when there are more, the one seen longest ago is forgotten and starts with a full bucket,
 * which the common bucket keeps harmless.
 */
import type { Millis } from "../../core/ids.js";

export interface BucketPolicy {
  /** How many at once after a pause. */
  readonly burst: number;
  readonly perSecond: number;
}

export const joinLimits = {
  perSource: { burst: 5, perSecond: 0.2 },
  together: { burst: 20, perSecond: 2 },
} as const satisfies Record<string, BucketPolicy>;

const sourcesMax = 1_024;

interface Bucket { level: number; readonly atMs: number }

export class RateLimiter {
  readonly #perSource: BucketPolicy;
  readonly #together: BucketPolicy;
  readonly #sources = new Map<string, Bucket>();
  #all: Bucket | undefined;

  constructor(perSource: BucketPolicy = joinLimits.perSource, together: BucketPolicy = joinLimits.together) {
    this.#perSource = perSource;
    this.#together = together;
  }

  /** @returns 0 when the attempt may go on (and is counted), else the seconds after which the next one may. */
  attempt(source: string, now: Millis): number {
    const own = this.#filled(this.#sources.get(source), this.#perSource, now);
    const all = this.#filled(this.#all, this.#together, now);
    this.#sources.delete(source);
    this.#sources.set(source, own);
    this.#all = all;
    if (this.#sources.size > sourcesMax) for (const oldest of this.#sources.keys()) { this.#sources.delete(oldest); break; }
    const waitSeconds = Math.max((1 - own.level) / this.#perSource.perSecond, (1 - all.level) / this.#together.perSecond);
    if (waitSeconds > 0) return Math.ceil(waitSeconds);
    own.level -= 1;
    all.level -= 1;
    return 0;
  }

  #filled(bucket: Bucket | undefined, policy: BucketPolicy, now: Millis): Bucket {
    if (!bucket) return { level: policy.burst, atMs: now };
    return { level: Math.min(policy.burst, bucket.level + Math.max(0, now - bucket.atMs) / 1_000 * policy.perSecond), atMs: Math.max(now, bucket.atMs) };
  }
}
