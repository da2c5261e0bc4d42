/**
 * Executes the scheduler's decisions: one Run stream to rank 0's own worker, a clock, and a tick. Decides nothing.
 *
 * Invariants: effects are executed in the order of the inputs that caused them, also when a sink calls back; nothing that an
 * earlier stream still says reaches the scheduler after `start` or `stop`.
 */
import { type Clock, Timers } from "../../core/clock.js";
import { type ErrorCode, MinidError, isErrorCode } from "../../core/errors.js";
import type { Epoch } from "../../core/ids.js";
import { unreachable } from "../../core/invariant.js";
import type { Log } from "../../core/log.js";
import type { RunStream, WorkerClient } from "../../core/worker-client.js";
import type { RankTime, StepResult } from "../../core/worker-protocol.js";
import type { GeneratedToken } from "./generate.js";
import type { RingPlan, SchedulerEffect, SchedulerInput, SchedulerLimits, SchedulerSnapshot, SequenceId, SubmittedRequest } from "./scheduler-types.js";
import { Scheduler } from "./scheduler.js";

const tickIntervalMs = 100;
/** Nothing is computed: only what is kept for later may grow too old. */
const idleTickIntervalMs = 1_000;

/** A ring whose stages are all loaded, as rank 0 sees it. */
export interface ReadyRing {
  readonly epoch: Epoch;
  readonly planVersion: number;
  readonly modelId: string;
  readonly plan: RingPlan;
  /** Rank 0's own worker. The caller owns and closes it. */
  readonly worker: Pick<WorkerClient, "run">;
}

/** What happens to one sequence. `finished` or `failed` comes last, once. */
export interface SequenceSink {
  admitted(cachedPromptTokens: number): void;
  token(token: GeneratedToken): void;
  finished(reason: "stop" | "length", cachedPromptTokens: number, embedding?: readonly number[]): void;
  failed(error: MinidError): void;
  /** Trace context of the sequence's request, when it is traced. */
  readonly traceparent?: string;
}

/** For metrics. */
export interface RingObserver {
  readonly onStep?: (step: { readonly spans: number; readonly rows: number; readonly durationMs: number; readonly computeMs: number; readonly ringMs: number; readonly times: readonly RankTime[]; readonly worldSize: number; readonly traces: readonly string[] }) => void;
  readonly onAdmitted?: (queuedMs: number) => void;
}

export interface RingDriverOptions {
  readonly clock: Clock;
  readonly limits: SchedulerLimits;
  readonly log: Log;
  /** The Run stream failed or a step was late: every sequence has been failed; `start` again once the ring is ready again. */
  readonly onLost: (error: MinidError) => void;
  readonly observer?: RingObserver;
}

export class RingDriver {
  readonly #options: RingDriverOptions;
  readonly #scheduler: Scheduler;
  readonly #timers: Timers;
  readonly #sinks = new Map<SequenceId, SequenceSink>();
  readonly #inputs: SchedulerInput[] = [];
  readonly #sent = new Map<number, { readonly atMs: number; readonly spans: number; readonly rows: number }>();
  #executing = false;
  /** Trace contexts of the sequences that the result in hand gave a token. */
  #traces: string[] = [];
  #nextId: SequenceId = 1;
  #tickMs = 0;
  #ring: ReadyRing | undefined;
  /** The ring that the scheduler has been told of; it lags behind `#ring` while inputs are waiting. */
  #told: ReadyRing | undefined;
  #stream: RunStream | undefined;

  constructor(options: RingDriverOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options.limits);
    this.#timers = new Timers((name, error) => { options.log.error({ timer: name, error }, "timer failed"); throw error; });
  }

  /** The ring that computes now; undefined when there is none. */
  get ring(): ReadyRing | undefined { return this.#ring; }
  snapshot(): SchedulerSnapshot { return this.#scheduler.snapshot(); }

  /** Begins to compute on `ring`. A ring that was computing before loses its sequences with a retryable error. */
  start(ring: ReadyRing): void {
    this.#dropStream();
    this.#ring = ring;
    const stream: RunStream = ring.worker.run({
      onResult: (result) => { if (this.#stream === stream) this.#result(result); },
      onEnd: (error) => {
        if (this.#stream === stream) this.#input({ kind: "stepFailed", code: "stage_lost", message: error ? error.message : "the worker ended the stream" });
      },
    });
    this.#stream = stream;
    this.#tickMs = 0;
    this.#input({ kind: "ready", plan: ring.plan });
  }

  /** Every sequence fails with a retryable error that gives `reason`. Nothing happens when no ring computes. */
  stop(reason: string): void {
    this.#dropStream();
    this.#timers.stop();
    this.#input({ kind: "notReady", reason });
  }

  submit(request: SubmittedRequest, sink: SequenceSink): SequenceId {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#sinks.set(id, sink);
    this.#input({ kind: "submit", id, request });
    return id;
  }

  /** The sink hears no more. */
  cancel(id: SequenceId): void {
    if (this.#sinks.delete(id)) this.#input({ kind: "cancel", id });
  }

  #dropStream(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#ring = undefined;
    this.#sent.clear();
    stream?.cancel();
  }

  #result(result: StepResult): void {
    const sent = this.#sent.get(result.stepSeq);
    this.#sent.delete(result.stepSeq);
    if (result.errorCode !== "") {
      const code: ErrorCode = isErrorCode(result.errorCode) ? result.errorCode : "engine_failed";
      this.#input({ kind: "stepFailed", code, message: result.error });
      return;
    }
    this.#traces = [];
    this.#input({ kind: "stepResult", stepSeq: result.stepSeq, sampled: result.sampled, run: result.run ?? 0, held: result.held ?? [] });
    if (sent) this.#options.observer?.onStep?.({ spans: sent.spans, rows: sent.rows, durationMs: this.#options.clock.now() - sent.atMs, computeMs: result.computeMs, ringMs: result.ringMs, times: result.times, worldSize: this.#ring?.plan.worldSize ?? 0, traces: this.#traces });
  }

  #input(input: SchedulerInput): void {
    this.#inputs.push(input);
    if (this.#executing) return;
    this.#executing = true;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        if (next.kind === "ready") this.#told = this.#ring;
        const effects = this.#scheduler.step(next, this.#options.clock.now());
        // The ring's next step goes out before anything is done with the tokens of the last one.
        for (const effect of effects) if (effect.kind === "sendStep") this.#execute(effect);
        for (const effect of effects) if (effect.kind !== "sendStep") this.#execute(effect);
      }
    } finally { this.#executing = false; }
    this.#pace();
  }

  /** Ticks often only while there is somebody to tick for. */
  #pace(): void {
    const wantedMs = this.#sinks.size > 0 ? tickIntervalMs : idleTickIntervalMs;
    if (!this.#stream || this.#tickMs === wantedMs) return;
    this.#tickMs = wantedMs;
    this.#timers.every("tick", wantedMs, () => { this.#input({ kind: "tick" }); });
  }

  #execute(effect: SchedulerEffect): void {
    switch (effect.kind) {
      case "sendStep": {
        const ring = this.#ring;
        // A sink has stopped the ring, or started another, and the scheduler has yet to hear of it.
        if (!ring || ring !== this.#told) return;
        const { epoch, planVersion } = ring;
        const { spans } = effect.step;
        if (this.#options.observer?.onStep) this.#sent.set(effect.step.stepSeq, { atMs: this.#options.clock.now(), spans: spans.length, rows: spans.reduce((sum, span) => sum + span.rows, 0) });
        this.#stream?.send({ epoch, planVersion, ...effect.step });
        return;
      }
      case "admitted":
        this.#options.observer?.onAdmitted?.(effect.queuedMs);
        this.#sinks.get(effect.id)?.admitted(effect.cachedPromptTokens);
        return;
      case "emit": {
        const sink = this.#sinks.get(effect.id);
        if (sink?.traceparent !== undefined) this.#traces.push(sink.traceparent);
        sink?.token(effect.token);
        return;
      }
      case "finish": this.#take(effect.id)?.finished(effect.reason, effect.cachedPromptTokens, effect.embedding); return;
      case "fail": {
        const details = effect.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: effect.retryAfterSeconds };
        this.#take(effect.id)?.failed(new MinidError(effect.code, effect.message, details));
        return;
      }
      case "ringLost": {
        const error = new MinidError("stage_lost", `${effect.code}: ${effect.message}`);
        this.#options.log.warn({ code: effect.code, reason: effect.message }, "the ring is lost");
        this.#dropStream();
        this.#timers.stop();
        this.#options.onLost(error);
        return;
      }
      default: unreachable(effect);
    }
  }

  #take(id: SequenceId): SequenceSink | undefined {
    const sink = this.#sinks.get(id);
    this.#sinks.delete(id);
    return sink;
  }
}
