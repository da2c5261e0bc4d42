/** Exponential backoff, capped, with deterministic delays (callers that need jitter add it from their own seed). */
export interface BackoffPolicy {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

/** Delay before attempt `attempt` (0-based: the first retry waits `initialMs`). */
export function backoffMs(policy: BackoffPolicy, attempt: number): number {
  return Math.min(policy.maxMs, policy.initialMs * policy.factor ** Math.max(0, attempt));
}
