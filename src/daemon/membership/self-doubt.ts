/**
 * Lifeguard's local health (Dadgar, Phillips, Currey 2018): a node that is late itself sees everyone else late, so it must doubt
 * itself before it accuses others. Timeouts are stretched by 1 + `level`.
 *
 * Lateness is read off the driver's tick. A tick that slips by seconds means that the machine slept (or was stopped): then nothing
 * this node believes about the others holds any more. On some systems the monotonic clock stands still during sleep; then only the
 * wall clock tells, and since a wall clock may also just have been set, that alone resets the detectors but takes nobody's office.
 */
export interface DoubtConfig {
  readonly tickIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly sleepAfterMs: number;
}

export interface TickReport {
  /** How much later than expected the tick came. */
  readonly slipMs: number;
  readonly slept: boolean;
  /** Wall clock against monotonic clock since the last tick, when that is too much to be drift; else 0. */
  readonly clockJumpMs: number;
}

/** Timeouts grow to at most 1 + this times. */
export const DOUBT_MAX = 3;
/** One level is forgiven after this long without a reason. */
const FORGIVE_AFTER_MS = 2_000;
/** Being suspected by others is a hint only: it does not raise doubt above this. */
const ACCUSED_MAX = 1;
const CLOCK_JUMP_MS = 1_000;

export class SelfDoubt {
  readonly #config: DoubtConfig;
  #level = 0;
  #changedAt: number;
  #tickedAt: number;
  #wallMs: number;

  constructor(config: DoubtConfig, now: number, wallMs: number) {
    this.#config = config;
    this.#changedAt = now;
    this.#tickedAt = now;
    this.#wallMs = wallMs;
  }

  get level(): number { return this.#level; }

  tick(now: number, wallMs: number): TickReport {
    const elapsedMs = now - this.#tickedAt;
    const slipMs = Math.max(0, elapsedMs - this.#config.tickIntervalMs);
    const jumpMs = wallMs - this.#wallMs - elapsedMs;
    this.#tickedAt = now;
    this.#wallMs = wallMs;
    if (slipMs > this.#config.heartbeatIntervalMs) this.#raise(now, DOUBT_MAX);
    else if (this.#level > 0 && now - this.#changedAt >= FORGIVE_AFTER_MS) { this.#level -= 1; this.#changedAt = now; }
    return { slipMs, slept: slipMs > this.#config.sleepAfterMs, clockJumpMs: Math.abs(jumpMs) > CLOCK_JUMP_MS ? jumpMs : 0 };
  }

  /** Somebody whom we hear well suspects us. */
  accused(now: number): void { this.#raise(now, ACCUSED_MAX); }

  #raise(now: number, max: number): void {
    if (this.#level >= max) return;
    this.#level += 1;
    this.#changedAt = now;
  }
}
