/**
 * Rank 0's part in a plan: takes steps, runs its layers, sends frames round the ring, and turns what comes back into tokens.
 * Several steps are under way at once; results leave in the order in which the steps came, whatever happens to each.
 *
 * A step may feed a sequence the token that an earlier step has yet to sample (a span without tokens), so that the scheduler need
 * not hear of one token before it asks for the next. Such a step, and all behind it, begins when that token is being sampled.
 *
 * A frame is known by a key that no other process and no earlier plan has used, so that a frame that was still travelling when
 * this worker was restarted is not taken for an answer. In a ring of one nothing of this is needed and a step is one request.
 *
 * The steps of one scheduler's stream are a run. When a newer one begins, what is left of the older is given up at once, and its
 * frames that are still out there are refused by every rank (`run-order.ts`).
 */
import { randomInt } from "node:crypto";
import { MinidError, isErrorCode, toMinidError } from "../core/errors.js";
import type { CacheOp, Frame, PassFailure, RankHeld, RankTime, Sampled, Step, StepResult } from "../core/worker-protocol.js";
import type { EngineHost } from "./engine-host.js";
import { sealed, unsealed } from "./activations.js";
import type { Term } from "./fence.js";
import type { RingLink } from "./ring-link.js";
import { newRunId } from "./run-order.js";
import type { StepOrigin } from "./stage-runner.js";

/** Whose steps these are: one scheduler's stream. */
export type Run = object;

interface Pending {
  readonly run: Run;
  readonly step: Step;
  readonly done: (result: StepResult) => void;
  /** `waiting`: not begun, because it builds on a token that is not sampled yet. `travelling`: its frame has left and is not back. */
  where: "waiting" | "here" | "travelling" | "back";
  readonly origin: StepOrigin;
  held: readonly RankHeld[];
  sentAt: number;
  computeMs: number;
  result: StepResult | undefined;
}

export class RingHead {
  readonly #host: EngineHost;
  readonly #term: Term;
  readonly #link: RingLink | undefined;
  readonly #pending = new Map<number, Pending>();
  #nextKey = randomInt(2 ** 47);
  #onEmpty: (() => void) | undefined;
  #over = false;
  #run: Run | undefined;
  #runId = 0;
  /** The run's first step was submitted. */
  #begun = false;
  /** Frames of the run that have left. */
  #sent = 0;

  /** @param link undefined in a ring of one. */
  constructor(host: EngineHost, term: Term, link: RingLink | undefined) {
    this.#host = host;
    this.#term = term;
    this.#link = link;
  }

  get pending(): number { return this.#pending.size; }

  /** @param done called once, in the order of `submit`. */
  submit(run: Run, step: Step, done: (result: StepResult) => void): void {
    if (run !== this.#run) this.#beginRun(run);
    const key = this.#nextKey;
    this.#nextKey += 1;
    const begin = this.#begun ? {} : { begin: { keep: step.keep ?? undefined } };
    this.#begun = true;
    const pending: Pending = { run, step, done, where: "waiting", origin: { run: this.#runId, ...begin }, held: [], sentAt: 0, computeMs: 0, result: undefined };
    this.#pending.set(key, pending);
    this.#begin();
  }

  /** What the last rank made of a step. Unknown keys are of another life: dropped. */
  returned(frame: Frame): void {
    const pending = this.#pending.get(frame.stepSeq);
    if (pending?.where !== "travelling" || pending.result) return;
    pending.where = "back";
    pending.held = frame.held ?? [];
    this.#finish(frame, pending, performance.now() - pending.sentAt).catch((error: unknown) => { this.#fail(frame.stepSeq, error); });
    // The engine thread samples it before it looks at what is sent to it now.
    this.#begin();
  }

  failed(failure: PassFailure): void {
    this.#fail(failure.stepSeq, new MinidError(isErrorCode(failure.errorCode) ? failure.errorCode : "engine_failed", failure.error));
  }

  /** The ring broke: every step that travels in it is lost. */
  broken(error: MinidError): void {
    for (const [key, { where, result }] of Array.from(this.#pending)) if (where === "travelling" && !result) this.#fail(key, error);
  }

  /** The plan is over. */
  async abandon(error: MinidError): Promise<void> {
    this.#over = true;
    for (const key of Array.from(this.#pending.keys())) this.#fail(key, error);
    await this.#link?.close();
  }

  /** Resolves when nothing is under way. */
  async empty(): Promise<void> {
    if (this.#pending.size > 0) await new Promise<void>((resolve) => { this.#onEmpty = resolve; });
  }

  #beginRun(run: Run): void {
    this.#run = run;
    this.#runId = newRunId();
    this.#begun = false;
    this.#sent = 0;
    for (const key of Array.from(this.#pending.keys())) this.#fail(key, new MinidError("stage_lost", "another scheduler took over this ring"));
  }

  /** Begins what can begin, in the order of submission. */
  #begin(): void {
    if (this.#over) return;
    const sampling = new Set<number>();
    for (const [key, pending] of this.#pending) {
      const { where, result, step } = pending;
      if (where === "waiting" && !result) {
        if (step.spans.some(({ slot, tokens }) => tokens.length === 0 && sampling.has(slot))) return;
        pending.where = "here";
        const begun = this.#link ? this.#sendRound(key, pending, this.#link) : this.#computeWhole(key, pending);
        begun.catch((error: unknown) => { this.#fail(key, error); });
      }
      // In a ring of one the engine thread's own order is enough.
      if (this.#link && !result && pending.where !== "back") for (const { slot, sample } of step.spans) if (sample) sampling.add(slot);
    }
  }

  async #computeWhole(key: number, pending: Pending): Promise<void> {
    const { sampled, computeMs, held } = await this.#host.request<"whole">({ kind: "whole", origin: pending.origin, ops: pending.step.ops, spans: pending.step.spans });
    if (held) pending.held = [{ rank: 0, slots: held }];
    this.#succeed(key, pending, sampled, computeMs, 0, []);
  }

  async #sendRound(key: number, pending: Pending, link: RingLink): Promise<void> {
    const { ops, spans } = pending.step;
    const { hidden, computeMs, held } = await this.#host.request<"beginRing">({ kind: "beginRing", origin: pending.origin, key, ops, spans });
    if (pending.result) { this.#forget(key); return; }
    pending.computeMs = computeMs;
    pending.where = "travelling";
    pending.sentAt = performance.now();
    this.#sent += 1;
    link.send({ ...this.#term, run: this.#runId, place: this.#sent, stepSeq: key, ops: ops.map(withoutText), spans: spans.map((span) => ({ ...span, tokens: [] })), ...sealed(hidden), times: [], keep: pending.step.keep ?? null, held: held ? [{ rank: 0, slots: held }] : [] });
  }

  async #finish(frame: Frame, pending: Pending, ringMs: number): Promise<void> {
    const { stepSeq: key, times, faults = [] } = frame;
    const hidden = unsealed(frame);
    const { sampled, computeMs } = await this.#host.request<"finishRing">({ kind: "finishRing", key, hidden, faults }, [hidden.buffer]);
    this.#succeed(key, pending, sampled, pending.computeMs + computeMs, ringMs, times);
  }

  #succeed(key: number, pending: Pending, sampled: readonly Sampled[], computeMs: number, ringMs: number, times: readonly RankTime[]): void {
    this.#settle(key, pending, { stepSeq: pending.step.stepSeq, sampled, errorCode: "", error: "", computeMs, ringMs, times, run: pending.origin.run, held: pending.held });
  }

  #fail(key: number, thrown: unknown): void {
    const pending = this.#pending.get(key);
    if (!pending || pending.result) return;
    const error = toMinidError(thrown);
    if (this.#link) this.#forget(key);
    this.#settle(key, pending, { stepSeq: pending.step.stepSeq, sampled: [], errorCode: error.code, error: error.message, computeMs: pending.computeMs, ringMs: 0, times: [] });
  }

  #settle(key: number, pending: Pending, result: StepResult): void {
    if (pending.result || this.#pending.get(key) !== pending) return;
    pending.result = result;
    for (const [first, { result: ready, done }] of this.#pending) {
      if (!ready) break;
      this.#pending.delete(first);
      done(ready);
    }
    if (this.#pending.size === 0) this.#onEmpty?.();
    else this.#begin();
  }

  #forget(key: number): void {
    this.#host.request<"forget">({ kind: "forget", key }).catch(() => undefined);
  }
}

/** The other ranks see no text. */
function withoutText(op: CacheOp): CacheOp {
  return op.op === "open" ? { op: "open", open: { slot: op.open.slot, sampling: null, history: [], promptLength: 0, ...(op.open.requestId !== undefined && { requestId: op.open.requestId }) } } : op;
}
