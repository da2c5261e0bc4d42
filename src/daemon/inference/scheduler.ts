/**
 * The scheduler: which sequences compute, in which slot, in which step. Active on rank 0 only; a pure core, whose driver
 * (`ring-driver.ts`) sends its steps to rank 0's worker and hands the results back.
 *
 * Invariants:
 *  - Steps are answered in the order they were sent; at most `worldSize` are in flight, and behind them as many again that feed
 *    tokens those are sampling.
 *  - Memory is reserved before a sequence starts and ahead of its growth. Where it runs out, the youngest sequences give way to
 *    older ones and are computed again later, which nobody sees: the oldest always goes on, so everyone's turn comes.
 *  - A slot changes hands only when no step in flight has rows of it. So a cancelled sequence is freed by the step after its last.
 *  - Nothing outlives the ring: when a step fails or is late every sequence fails with a retryable error, and whoever holds
 *    the tokens so far submits them again. The first step after `ready` drops every slot but those that the lost ring left behind
 *    for certain (keeping.ts), which makes all stages level.
 *
 * Does not: sample, detokenize, know stop strings, retry, or read a clock.
 */
import { type ErrorCode, catalogue, isErrorCode } from "../../core/errors.js";
import { invariant, unreachable } from "../../core/invariant.js";
import type { CacheOp, Keep, Sampled, StepSpan } from "../../core/worker-protocol.js";
import { AdmissionQueue, orderMsOf } from "./admission-queue.js";
import type { GeneratedToken } from "./generate.js";
import { Keeping } from "./keeping.js";
import type { RingPlan, SchedulerEffect, SchedulerInput, SchedulerLimits, SchedulerSnapshot, SchedulerStep, SequenceId, SubmittedRequest } from "./scheduler-types.js";
import { Sequence } from "./sequence.js";
import { SlotTable } from "./slots.js";
import { findPrefix } from "./prefix-sharing.js";
import { verdictOn } from "./request-verdict.js";
import { extendReservations } from "./reservations.js";
import { type Rows, chooseRows, chooseRowsAhead } from "./step-rows.js";

interface Ring { readonly plan: RingPlan; readonly slots: SlotTable }
interface StepInFlight {
  readonly stepSeq: number;
  readonly sentMs: number;
  readonly rows: readonly (Rows & { readonly slot: number; readonly sample: boolean })[];
  readonly step: SchedulerStep;
  /** Sequences that began in this step: what a worker finds wrong with a request it finds there. */
  readonly opened: readonly Sequence[];
}

export class Scheduler {
  readonly #limits: SchedulerLimits;
  readonly #queue: AdmissionQueue;
  readonly #byId = new Map<SequenceId, Sequence>();
  readonly #totals = { steps: 0, prefillTokens: 0, decodedTokens: 0, cachedTokens: 0, replayedTokens: 0, preemptions: 0 };
  readonly #keeping = new Keeping();
  #ring: Ring | undefined;
  #notReadyReason = "no plan yet";
  /** In order of admission. */
  #running: Sequence[] = [];
  #inflight: StepInFlight[] = [];
  /** To travel with the next step. */
  #ops: CacheOp[] = [];
  /** Their `open` is in `#ops`. */
  #opened: Sequence[] = [];
  #stepSeq = 0;
  #progressMs = 0;
  #busySinceMs = 0;

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
    this.#queue = new AdmissionQueue(limits.queueMax);
  }

  step(input: SchedulerInput, nowMs: number): SchedulerEffect[] {
    const effects: SchedulerEffect[] = [];
    switch (input.kind) {
      case "ready": this.#becomeReady(input.plan, effects); break;
      case "notReady": this.#leaveRing("not_ready", input.reason, effects); break;
      case "submit": this.#submit(input.id, input.request, nowMs, effects); break;
      case "cancel": this.#cancel(input.id, nowMs); break;
      case "stepResult": this.#stepResult(input, nowMs, effects); break;
      case "stepFailed": this.#stepFailed(input.code, input.message, effects); break;
      case "tick": this.#tick(nowMs, effects); break;
      default: unreachable(input);
    }
    this.#send(nowMs, effects);
    return effects;
  }

  snapshot(): SchedulerSnapshot {
    const slots = this.#ring?.slots;
    return {
      ready: this.#ring !== undefined,
      queued: this.#queue.length,
      running: this.#running.length,
      stepsInFlight: this.#inflight.length,
      slots: { active: slots?.count("active") ?? 0, cached: slots?.count("cached") ?? 0, total: this.#ring?.plan.slots ?? 0 },
      kvTokens: { reserved: slots?.charged("active") ?? 0, cached: slots?.charged("cached") ?? 0, max: this.#ring?.plan.kvTokensMax ?? 0 },
      totals: { ...this.#totals },
    };
  }

  // --- the ring comes and goes

  #becomeReady(plan: RingPlan, effects: SchedulerEffect[]): void {
    invariant(plan.worldSize >= 1 && plan.slots >= 1 && plan.batchMax >= 1 && plan.contextMax >= 2, `a plan that cannot compute: ${JSON.stringify(plan)}`);
    if (this.#ring) this.#leaveRing("stage_lost", "the ring was planned anew", effects);
    this.#stepSeq = 0;
    const kept = this.#keeping.take(plan, this.#ops);
    this.#ring = { plan, slots: kept ?? new SlotTable(plan.slots, plan.kvTokensMax, this.#limits.prefixTokensMin) };
    if (kept) return;
    for (let slot = 0; slot < plan.slots; slot += 1) this.#ops.push({ op: "drop", drop: { slot } });
  }

  #leaveRing(queuedCode: ErrorCode, reason: string, effects: SchedulerEffect[]): void {
    this.#notReadyReason = reason;
    const running = this.#running.filter((sequence) => !sequence.ended);
    const queued = [...this.#queue];
    for (const sequence of running) effects.push({ kind: "fail", id: sequence.id, code: "stage_lost", message: `The ring stopped while it computed: ${reason}.` });
    for (const sequence of queued) {
      this.#queue.remove(sequence.id);
      effects.push({ kind: "fail", id: sequence.id, code: queuedCode, message: `The ring stopped before the request's turn: ${reason}.` });
    }
    if (this.#ring) this.#keeping.leave(this.#ring.plan, this.#ring.slots, [...this.#inflight.map(({ step }) => step), { ops: this.#ops, spans: [] }]);
    this.#byId.clear();
    this.#running = [];
    this.#inflight = [];
    this.#ops = [];
    this.#opened = [];
    this.#ring = undefined;
  }

  #loseRing(code: ErrorCode, message: string, effects: SchedulerEffect[]): void {
    if (!this.#ring) return;
    this.#leaveRing("not_ready", `${code}: ${message}`, effects);
    effects.push({ kind: "ringLost", code, message });
  }

  // --- requests

  #submit(id: SequenceId, request: SubmittedRequest, nowMs: number, effects: SchedulerEffect[]): void {
    invariant(!this.#byId.has(id), `sequence ${id} was submitted twice`);
    invariant(request.prompt.length > 0 && request.maxTokens > 0, `sequence ${id} has nothing to compute`);
    if (!this.#ring) { effects.push({ kind: "fail", id, code: "not_ready", message: `No ring is ready to compute: ${this.#notReadyReason}.` }); return; }
    const { plan } = this.#ring;
    const verdict = verdictOn(request, plan);
    if (verdict) { effects.push(verdict.kind === "finish" ? { ...verdict, id, cachedPromptTokens: 0 } : { ...verdict, id }); return; }
    if (this.#queue.full(request, nowMs)) {
      effects.push({ kind: "fail", id, code: "queue_full", message: `${this.#queue.length} requests are waiting: try again when Retry-After says.`, retryAfterSeconds: this.#queue.retryAfterSeconds(request, nowMs) });
      return;
    }
    const lengthMax = Math.min(request.prompt.length + (request.pooling === undefined ? request.maxTokens : 0), plan.contextMax, plan.kvTokensMax);
    const sequence = new Sequence(id, request, { submittedMs: nowMs, orderMs: orderMsOf(request, nowMs) }, { replay: plan.engineReplay, lengthMax });
    if (this.#running.length === 0 && this.#queue.length === 0) this.#busySinceMs = nowMs;
    this.#byId.set(id, sequence);
    this.#queue.push(sequence);
  }

  #cancel(id: SequenceId, nowMs: number): void {
    const sequence = this.#byId.get(id);
    if (!sequence) return;
    this.#queue.remove(id);
    this.#end(sequence, nowMs);
  }

  /** Nothing more is said about the sequence; its slot is freed now or when its last step returns. */
  #end(sequence: Sequence, nowMs: number): void {
    sequence.ended = true;
    this.#byId.delete(sequence.id);
    this.#freeIfDone(sequence, nowMs);
  }

  #freeIfDone(sequence: Sequence, nowMs: number): void {
    if (!this.#ring || !sequence.ended || sequence.inflight > 0 || sequence.slot < 0) return;
    this.#ring.slots.release(this.#ring.slots.at(sequence.slot), nowMs, this.#ops);
    sequence.slot = -1;
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#queue.finished(nowMs, this.#busySinceMs);
  }

  #tick(nowMs: number, effects: SchedulerEffect[]): void {
    if (!this.#ring) return;
    const [oldest] = this.#inflight;
    if (oldest) {
      const lateMs = nowMs - Math.max(oldest.sentMs, this.#progressMs);
      if (lateMs > this.#limits.stepTimeoutMs) { this.#loseRing("stage_lost", `step ${oldest.stepSeq} has been in the ring for ${Math.round(lateMs)} ms`, effects); return; }
    }
    for (const sequence of this.#byId.values()) {
      const { deadlineAtMs } = sequence.request;
      if (deadlineAtMs === undefined || nowMs < deadlineAtMs) continue;
      effects.push({ kind: "fail", id: sequence.id, code: "deadline_exceeded", message: `The deadline passed with ${sequence.tokens.length - sequence.promptLength} of at most ${sequence.request.maxTokens} tokens of the answer computed.` });
      this.#cancel(sequence.id, nowMs);
    }
    this.#ring.slots.expire(nowMs - this.#limits.prefixIdleMs, this.#ops);
  }

  // --- steps out

  #send(nowMs: number, effects: SchedulerEffect[]): void {
    const ring = this.#ring;
    if (!ring) return;
    const { asked } = this.#keeping;
    if (asked) { this.#askWhatIsHeld(asked, nowMs, effects); return; }
    const { worldSize } = ring.plan;
    while (this.#inflight.length < 2 * worldSize) {
      const enough = extendReservations(this.#running, ring.slots, this.#limits.reserveAheadTokens, this.#ops, (victim) => { this.#preempt(ring, victim, nowMs); });
      if (enough) this.#admit(ring, nowMs);
      for (const sequence of this.#running) if (!sequence.started && !sequence.ended) this.#start(ring, sequence, nowMs, effects);
      const free = this.#inflight.length < worldSize;
      const known = free ? chooseRows(this.#running, ring.plan, this.#limits.mixedPrefillTokens) : [];
      const rows = known.length > 0 ? known : chooseRowsAhead(this.#running, ring.plan);
      if (rows.length === 0 && (!free || this.#ops.length === 0)) return;
      this.#stepSeq += 1;
      const spans = rows.map(({ sequence, rows: count }) => this.#schedule(ring, sequence, count));
      const step: SchedulerStep = { stepSeq: this.#stepSeq, ops: this.#ops, spans };
      effects.push({ kind: "sendStep", step });
      this.#ops = [];
      const opened = this.#opened;
      this.#opened = [];
      this.#totals.steps += 1;
      this.#inflight.push({ stepSeq: this.#stepSeq, sentMs: nowMs, rows: rows.map((entry, index) => ({ ...entry, slot: entry.sequence.slot, sample: spans[index]?.sample ?? false })), step, opened });
    }
  }

  #askWhatIsHeld(keep: Keep, nowMs: number, effects: SchedulerEffect[]): void {
    if (this.#inflight.length > 0) return;
    this.#stepSeq += 1;
    const step: SchedulerStep = { stepSeq: this.#stepSeq, ops: this.#ops, spans: [], keep };
    this.#ops = [];
    effects.push({ kind: "sendStep", step });
    this.#inflight.push({ stepSeq: this.#stepSeq, sentMs: nowMs, rows: [], step, opened: [] });
  }

  #admit(ring: Ring, nowMs: number): void {
    const { plan, slots } = ring;
    for (let head = this.#queue.head; head && this.#running.length < plan.batchMax * plan.worldSize; head = this.#queue.head) {
      const prefix = findPrefix(head, this.#running, slots, this.#limits.prefixTokensMin, { whole: false });
      const reserve = Math.min(head.lengthMax, head.tokens.length + this.#limits.reserveAheadTokens);
      const slot = slots.acquire(reserve, prefix === "wait" ? undefined : prefix, this.#ops);
      if (!slot) return;
      slots.touch(slot, nowMs);
      head.slot = slot.index;
      this.#running.push(head);
      this.#queue.shift();
    }
  }

  #start(ring: Ring, sequence: Sequence, nowMs: number, effects: SchedulerEffect[]): void {
    const { slots } = ring;
    const slot = slots.at(sequence.slot);
    if (slot.lacking.length > 0) {
      sequence.heldEnd = slot.length;
      sequence.lacking = slot.lacking;
      slot.lacking = [];
    } else if (slot.length > 0) sequence.scheduled = slot.length;
    else {
      const prefix = findPrefix(sequence, this.#running, slots, this.#limits.prefixTokensMin, { whole: true });
      if (prefix === "wait") return;
      if (prefix) {
        this.#ops.push({ op: "copy", copy: { from: prefix.slot.index, to: slot.index, length: prefix.length } });
        slots.touch(prefix.slot, nowMs);
        sequence.scheduled = prefix.length;
      }
    }
    this.#ops.push({ op: "open", open: { slot: slot.index, sampling: sequence.request.sampling, history: [...sequence.tokens], promptLength: sequence.promptLength, ...(sequence.pooling && { pooling: sequence.pooling }), ...(sequence.request.requestId !== undefined && { requestId: sequence.request.requestId }) } });
    this.#opened.push(sequence);
    slots.hold(slot, sequence.tokens, sequence.scheduled, sequence.prefillEnd);
    sequence.started = true;
    const cachedPromptTokens = Math.min(Math.max(sequence.scheduled, sequence.heldEnd), sequence.promptLength);
    this.#totals.cachedTokens += cachedPromptTokens;
    if (sequence.announced) return;
    sequence.announced = true;
    sequence.cachedPromptTokens = cachedPromptTokens;
    effects.push({ kind: "admitted", id: sequence.id, cachedPromptTokens, queuedMs: nowMs - sequence.submittedMs });
  }

  #preempt(ring: Ring, victim: Sequence, nowMs: number): void {
    ring.slots.release(ring.slots.at(victim.slot), nowMs, this.#ops);
    this.#running.splice(this.#running.indexOf(victim), 1);
    victim.restart();
    this.#queue.push(victim);
    this.#totals.preemptions += 1;
  }

  #schedule(ring: Ring, sequence: Sequence, rows: number): StepSpan {
    const position = sequence.scheduled;
    const end = position + rows;
    if (sequence.prefilling) this.#totals.prefillTokens += rows;
    this.#totals.replayedTokens += Math.max(0, Math.min(end, sequence.knownAtStart) - Math.max(position, sequence.promptLength));
    sequence.scheduled = end;
    sequence.inflight += 1;
    const sample = end >= sequence.tokens.length;
    if (sample) sequence.awaiting += 1;
    sequence.lastStepSeq = this.#stepSeq;
    const cachable = ring.plan.engineReplay === "prefill" ? end : sequence.prefillEnd;
    ring.slots.hold(ring.slots.at(sequence.slot), sequence.tokens, end, sequence.pooling ? 0 : cachable);
    const kept = position < sequence.heldEnd && { lacking: sequence.lacking };
    const span = { slot: sequence.slot, position, rows, tokens: sequence.tokens.slice(position, end), sample, ...kept };
    return sequence.pooling === "mean" ? { ...span, everyRow: true } : span;
  }

  // --- results in

  #stepResult({ stepSeq, sampled, run = 0, held = [] }: Extract<SchedulerInput, { kind: "stepResult" }>, nowMs: number, effects: SchedulerEffect[]): void {
    const step = this.#inflight[0];
    if (!this.#ring || !step) return;
    if (step.stepSeq !== stepSeq) { this.#loseRing("engine_failed", `step ${step.stepSeq} was answered as step ${stepSeq}`, effects); return; }
    const bySlot = new Map(sampled.map((token) => [token.slot, token]));
    if (bySlot.size !== sampled.length || step.rows.some((entry) => !answers(bySlot.get(entry.slot), entry.sample)) || sampled.length > step.rows.length) {
      this.#loseRing("engine_failed", `step ${stepSeq} came back with samples of other slots than asked for`, effects);
      return;
    }
    this.#inflight.shift();
    this.#progressMs = nowMs;
    this.#keeping.answered(run, held, this.#ring.slots, this.#ring.plan.worldSize, this.#ops);
    for (const { sequence, slot, sample } of step.rows) {
      sequence.inflight -= 1;
      if (sample) sequence.awaiting -= 1;
      const token = bySlot.get(slot);
      if (sequence.ended) this.#freeIfDone(sequence, nowMs);
      else if (token?.errorCode) this.#faulty(this.#ring, sequence, token, nowMs, effects);
      else if (token && sequence.pooling) this.#embedded(sequence, token.embedding ?? [], nowMs, effects);
      else if (token) this.#emit(sequence, token, nowMs, effects);
      if (sequence.preempting && !sequence.ended && sequence.inflight === 0) this.#preempt(this.#ring, sequence, nowMs);
    }
  }

  /** A worker that calls a request wrong would do so again: who began in that step is told, and nobody else suffers for it. */
  #stepFailed(code: ErrorCode, message: string, effects: SchedulerEffect[]): void {
    if (!this.#ring) return;
    if (!catalogue[code].retryable) {
      for (const sequence of this.#inflight[0]?.opened ?? []) {
        if (sequence.ended) continue;
        sequence.ended = true;
        effects.push({ kind: "fail", id: sequence.id, code, message });
      }
    }
    this.#loseRing(code, message, effects);
  }

  /** Its numbers went bad, or it could not be sampled: it fails alone, and what is in its cache is nobody's prefix. */
  #faulty(ring: Ring, sequence: Sequence, { errorCode = "", error = "" }: Sampled, nowMs: number, effects: SchedulerEffect[]): void {
    effects.push({ kind: "fail", id: sequence.id, code: isErrorCode(errorCode) ? errorCode : "output_not_finite", message: error });
    ring.slots.hold(ring.slots.at(sequence.slot), sequence.tokens, sequence.scheduled, 0);
    this.#end(sequence, nowMs);
  }

  #embedded(sequence: Sequence, embedding: readonly number[], nowMs: number, effects: SchedulerEffect[]): void {
    if (embedding.length > 0) effects.push({ kind: "finish", id: sequence.id, reason: "stop", cachedPromptTokens: 0, embedding });
    // A worker of an older version knows no embeddings, and samples.
    else effects.push({ kind: "fail", id: sequence.id, code: "engine_failed", message: "Rank 0's worker gave no embedding. Upgrade minid on that machine." });
    this.#end(sequence, nowMs);
  }

  #emit(sequence: Sequence, sampled: Sampled, nowMs: number, effects: SchedulerEffect[]): void {
    const index = sequence.tokens.length - sequence.promptLength;
    const logprobs = sequence.request.sampling.logprobs ? { logprobs: { logprob: sampled.logprob, top: sampled.top } } : {};
    const token: GeneratedToken = { token: sampled.token, index, ...logprobs };
    const done = sequence.append(sampled.token);
    this.#totals.decodedTokens += 1;
    effects.push({ kind: "emit", id: sequence.id, token });
    if (done === undefined) return;
    effects.push({ kind: "finish", id: sequence.id, reason: done, cachedPromptTokens: sequence.cachedPromptTokens });
    this.#end(sequence, nowMs);
  }
}

/** A row that was to be sampled is answered by a token or a fault, another one by a fault at most. */
const answers = (sampled: Sampled | undefined, asked: boolean): boolean => (asked ? sampled !== undefined : sampled === undefined || Boolean(sampled.errorCode));
