/**
 * Token buckets for Join: one for each source address and one for all together. Pure: time is an argument.
 * The sources remembered are bounded; when there are more, the one seen longest ago is forgotten and starts with a full bucket,
 * which the common bucket keeps harmless.
 */
import type { Millis } from "../../core/ids.js";
import { type Bucket, type BucketPolicy, filled, less, secondsUntil } from "../../core/token-bucket.js";

export const joinLimits = {
  perSource: { burst: 5, perSecond: 0.2 },
  together: { burst: 20, perSecond: 2 },
} as const satisfies Record<string, BucketPolicy>;

const sourcesMax = 1_024;

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
    const own = filled(this.#sources.get(source), this.#perSource, now);
    const all = filled(this.#all, this.#together, now);
    const waitSeconds = Math.max(secondsUntil(own, this.#perSource, 1), secondsUntil(all, this.#together, 1));
    const spent = waitSeconds > 0 ? 0 : 1;
    this.#sources.delete(source);
    this.#sources.set(source, less(own, spent));
    this.#all = less(all, spent);
    if (this.#sources.size > sourcesMax) for (const oldest of this.#sources.keys()) { this.#sources.delete(oldest); break; }
    return Math.ceil(waitSeconds);
  }
}
