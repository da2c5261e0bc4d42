/**
 * What one API key may still spend: requests at once, requests and tokens in a minute. Pure: time is an argument.
 *
 * A minute's allowance is a bucket that refills all the time, so there is no rush at the full minute. A request is let in when its
 * prompt's tokens are there; those of the answer are taken as they come and may leave a debt, because nobody knows before how long an
 * answer will be, and to reserve `max_tokens` would make most of the allowance unusable. The debt is paid off before the next request.
 * Retry-After is computed from the buckets and so is true, unless the key's own other answers spend meanwhile.
 */
import type { KeyLimits } from "../../core/trust/records.js";
import { type Bucket, type BucketPolicy, filled, less, secondsUntil } from "../../core/token-bucket.js";

export type Refused = { readonly limit: "concurrent_requests" | "requests_per_minute" | "tokens_per_minute"; readonly max: number; readonly retryAfterSeconds: number };

/** Guess for the first, while no answer of this key has ended yet. */
const answerSecondsInitial = 2;
const smoothing = 0.2;
const retryAfterMaxSeconds = 60;

const perMinute = (max: number): BucketPolicy => ({ burst: max, perSecond: max / 60 });

export class Budget {
  readonly #limits: KeyLimits;
  readonly #requests: BucketPolicy | undefined;
  readonly #tokens: BucketPolicy | undefined;
  #requestBucket: Bucket | undefined;
  #tokenBucket: Bucket | undefined;
  #inFlight = 0;
  #answerSeconds = answerSecondsInitial;

  constructor(limits: KeyLimits) {
    this.#limits = limits;
    this.#requests = limits.requestsPerMinute === undefined ? undefined : perMinute(limits.requestsPerMinute);
    this.#tokens = limits.tokensPerMinute === undefined ? undefined : perMinute(limits.tokensPerMinute);
  }

  get inFlight(): number { return this.#inFlight; }

  /** @returns undefined when the request may begin, and counts it; `leave` takes it back out of those in flight. */
  enter(nowMs: number): Refused | undefined {
    const { concurrentRequests, requestsPerMinute, tokensPerMinute } = this.#limits;
    if (concurrentRequests !== undefined && this.#inFlight >= concurrentRequests) {
      const seconds = this.#answerSeconds / concurrentRequests;
      return { limit: "concurrent_requests", max: concurrentRequests, retryAfterSeconds: Math.min(retryAfterMaxSeconds, Math.max(1, Math.ceil(seconds))) };
    }
    this.#fill(nowMs);
    if (this.#tokens && this.#tokenBucket && this.#tokenBucket.level <= 0) return refusedTokens(tokensPerMinute!, secondsUntil(this.#tokenBucket, this.#tokens, 1));
    if (this.#requests && this.#requestBucket) {
      const wait = secondsUntil(this.#requestBucket, this.#requests, 1);
      if (wait > 0) return { limit: "requests_per_minute", max: requestsPerMinute!, retryAfterSeconds: Math.max(1, Math.ceil(wait)) };
      this.#requestBucket = less(this.#requestBucket, 1);
    }
    this.#inFlight += 1;
    return undefined;
  }

  /** A request that was let in turns out to have so many prompt tokens. @returns why it must wait all the same; nothing is taken then. */
  prompt(tokens: number, nowMs: number): Refused | undefined {
    this.#fill(nowMs);
    if (!this.#tokens || !this.#tokenBucket) return undefined;
    // A prompt larger than a whole minute's allowance waits for a full bucket, and then leaves a debt.
    const wait = secondsUntil(this.#tokenBucket, this.#tokens, tokens);
    if (wait > 0) return refusedTokens(this.#limits.tokensPerMinute!, wait);
    this.#tokenBucket = less(this.#tokenBucket, tokens);
    return undefined;
  }

  /** Tokens of an answer that came. */
  spend(tokens: number, nowMs: number): void {
    this.#fill(nowMs);
    if (this.#tokenBucket) this.#tokenBucket = less(this.#tokenBucket, tokens);
  }

  leave(seconds: number): void {
    this.#inFlight -= 1;
    this.#answerSeconds += smoothing * (seconds - this.#answerSeconds);
  }

  /** OpenAI's headers, for the limits that are on. */
  headers(nowMs: number): Record<string, string> {
    this.#fill(nowMs);
    return { ...describe("requests", this.#requests, this.#requestBucket), ...describe("tokens", this.#tokens, this.#tokenBucket) };
  }

  #fill(nowMs: number): void {
    if (this.#requests) this.#requestBucket = filled(this.#requestBucket, this.#requests, nowMs);
    if (this.#tokens) this.#tokenBucket = filled(this.#tokenBucket, this.#tokens, nowMs);
  }
}

const refusedTokens = (max: number, seconds: number): Refused => ({ limit: "tokens_per_minute", max, retryAfterSeconds: Math.max(1, Math.ceil(seconds)) });

function describe(what: "requests" | "tokens", policy: BucketPolicy | undefined, bucket: Bucket | undefined): Record<string, string> {
  if (!policy || !bucket) return {};
  return {
    [`x-ratelimit-limit-${what}`]: String(policy.burst),
    [`x-ratelimit-remaining-${what}`]: String(Math.max(0, Math.floor(bucket.level))),
    // Until all of it is there again.
    [`x-ratelimit-reset-${what}`]: duration(secondsUntil(bucket, policy, policy.burst)),
  };
}

/** As OpenAI writes them: `20ms`, `1.5s`, `6m0s`. */
export function duration(seconds: number): string {
  const ms = Math.ceil(seconds * 1_000);
  if (ms < 1_000) return `${ms}ms`;
  const minutes = Math.floor(ms / 60_000);
  const rest = `${(ms - minutes * 60_000) / 1_000}s`;
  return minutes === 0 ? rest : `${minutes}m${rest}`;
}
