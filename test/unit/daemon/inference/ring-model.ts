/**
 * A ring of workers as a pure model: it keeps the cache that a real one would keep, refuses every step that breaks a worker's rules,
 * and "samples" a hash of what the cache really holds. So a token is right only if every row before it was computed, once, in
 * its place, and on the path (chunk or single row) that the engine asks for.
 *
 * As in a real ring, a step that feeds a token which an earlier one has yet to sample waits for it, and all behind it.
 *
 * Every rank has a cache of its own, which lives on when the ring is lost unless the rank died, and holds then also what steps without
 * an answer made of it, as far as they came.
 */
import { type CacheOp, type OpenSlot, type RankHeld, type Sampled, type Sampling, greedySampling } from "../../../../src/core/worker-protocol.js";
import type { RingPlan, SchedulerStep } from "../../../../src/daemon/inference/scheduler-types.js";

const vocabulary = 40;

export function nextToken(history: readonly number[], seed: number): number {
  let hash = (2_166_136_261 ^ seed) >>> 0;
  for (const token of history) hash = Math.imul(hash ^ (token + 1), 16_777_619) >>> 0;
  hash ^= hash >>> 15;
  return (Math.imul(hash, 2_246_822_519) >>> 0) % vocabulary;
}

/** What a run that nothing disturbs answers. */
export function undisturbed(prompt: readonly number[], options: { seed: number; maxTokens: number; stopTokens: readonly number[]; lengthMax: number }): number[] {
  const tokens = [...prompt];
  const answer: number[] = [];
  while (answer.length < options.maxTokens && tokens.length < options.lengthMax) {
    const token = nextToken(tokens, options.seed);
    tokens.push(token);
    answer.push(token);
    if (options.stopTokens.includes(token)) break;
  }
  return answer;
}

interface SlotModel { cache: Row[]; touched: number; sampling: Sampling; history: number[]; promptLength: number; pooling?: OpenSlot["pooling"]; pooled: number[] }

/** What the model's embedding of a prompt is: the tokens whose rows came back, which for the mean must be all. */
export const embeddingOf = (prompt: readonly number[], pooling: "last" | "mean"): readonly number[] => (pooling === "mean" ? prompt : prompt.slice(-1));

interface Row { readonly token: number; readonly path: "chunk" | "row" }
/** @property run that touched the caches last; 0: none. */
interface RankModel { run: number; readonly caches: Map<number, Row[]>; applied: number }

function check(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new Error(`a worker would refuse: ${rule}`);
}

export class RingModel {
  readonly plan: RingPlan;
  readonly #slots: SlotModel[];
  readonly #begun: SchedulerStep[] = [];
  readonly #waiting: SchedulerStep[] = [];
  readonly #ranks: RankModel[];
  readonly #run: number;
  #held: RankHeld[] = [];
  #stepSeq = 0;
  stepsSent = 0;
  rowsComputed = 0;
  readonly rowsComputedByRank: number[] = [];

  /** @param before the lost ring whose workers live on, but for those that died. */
  constructor(plan: RingPlan, before?: RingModel, died: readonly number[] = []) {
    this.plan = plan;
    this.#run = before ? before.#run + 1 : 1;
    this.#ranks = Array.from({ length: plan.worldSize }, (_, rank) => {
      const old = before && !died.includes(rank) ? before.#ranks[rank] : undefined;
      return { run: old?.run ?? 0, caches: old?.caches ?? new Map<number, Row[]>(), applied: 0 };
    });
    // What an earlier plan may have left behind: the first step has to clear it.
    this.#slots = Array.from({ length: plan.slots }, () => ({ cache: [{ token: -1, path: "row" }], touched: 1, sampling: greedySampling, history: [], promptLength: 0, pooled: [] }));
  }

  get inflight(): number { return this.#begun.length + this.#waiting.length; }
  get held(): number { return this.#slots.reduce((sum, slot) => sum + slot.touched, 0); }

  /** The ring is lost: steps in flight have come as far as they have. @param reach of each rank: how many of them it has computed; a rank never more than the one before it. */
  lose(reach: (rank: number) => number): void {
    let most = this.#begun.length;
    for (const [rank, model] of this.#ranks.entries()) {
      most = Math.min(most, reach(rank));
      while (model.applied < most) this.#apply(rank, this.#begun[model.applied]!);
    }
  }

  send(step: SchedulerStep): void {
    this.#stepSeq += 1;
    this.stepsSent += 1;
    if (step.keep) {
      check(step.stepSeq === 1 && step.spans.length === 0, "what is kept is asked for before anything else");
      for (const { slot, length } of step.keep.slots) {
        const kept = this.#ranks.map((rank) => this.#keeps(rank, step, slot, length));
        this.#at(slot).cache = kept.find((rows) => rows.length > 0)?.slice(0, length) ?? [];
        this.#at(slot).touched = Math.max(...kept.map((rows) => rows.length));
      }
    }
    check(step.stepSeq === this.#stepSeq, `step ${step.stepSeq} where ${this.#stepSeq} is expected`);
    check(step.spans.length > 0 || step.ops.length > 0 || step.keep !== undefined && step.keep !== null, "an empty step");
    this.#waiting.push(step);
    this.#begin();
    check(this.inflight <= 2 * this.plan.worldSize, "more than two steps in flight for each machine");
  }

  #begin(): void {
    for (let step = this.#waiting[0]; step && this.#mayBegin(step); step = this.#waiting[0]) {
      this.#waiting.shift();
      this.#start(step);
    }
  }

  #sampling(): ReadonlySet<number> { return new Set(this.#begun.flatMap(({ spans }) => spans.filter((span) => span.sample).map((span) => span.slot))); }

  #mayBegin(step: SchedulerStep): boolean {
    const sampling = this.#sampling();
    return !step.spans.some(({ slot, tokens }) => tokens.length === 0 && sampling.has(slot));
  }

  #start(step: SchedulerStep): void {
    const sampling = this.#sampling();
    for (const op of step.ops) this.#op(op, sampling);
    const spans = step.spans.map((span) => (span.tokens.length > 0 ? span : { ...span, tokens: this.#at(span.slot).history.slice(span.position, span.position + span.rows) }));
    check(step.spans.length <= this.plan.batchMax, `${step.spans.length} spans, at most ${this.plan.batchMax}`);
    check(new Set(step.spans.map((span) => span.slot)).size === step.spans.length, "two spans of one slot");
    for (const span of spans) {
      check(!sampling.has(span.slot), `slot ${span.slot} goes on before its token is known`);
      this.#compute(span);
    }
    check(this.held <= this.plan.kvTokensMax, `${this.held} tokens held, memory for ${this.plan.kvTokensMax}`);
    this.#begun.push({ ...step, spans });
  }

  /** The oldest step comes back. */
  receive(): { stepSeq: number; sampled: Sampled[]; run: number; held: readonly RankHeld[] } {
    const [step] = this.#begun;
    check(step !== undefined, "no step in flight");
    for (const [rank, model] of this.#ranks.entries()) {
      if (model.applied === 0) this.#apply(rank, step);
      model.applied -= 1;
    }
    this.#begun.shift();
    const sampled = step.spans.filter((span) => span.sample).map((span): Sampled => {
      const slot = this.#at(span.slot);
      check(slot.history.length === span.position + span.rows, `sampled at ${span.position + span.rows} with a history of ${slot.history.length}`);
      slot.history.forEach((token, at) => { check(slot.cache[at]?.token === token, `slot ${span.slot} has another token at ${at}`); });
      for (const [rank, { caches }] of this.#ranks.entries()) {
        const rows = caches.get(span.slot) ?? [];
        slot.history.forEach((token, at) => { check(rows[at]?.token === token && (this.plan.engineReplay === "prefill" || rows[at].path === slot.cache[at]?.path), `rank ${rank} has another row at ${at} of slot ${span.slot}`); });
      }
      if (this.plan.engineReplay === "decode") {
        slot.cache.forEach(({ path }, at) => { check(path === (at < slot.promptLength && slot.promptLength > 1 ? "chunk" : "row"), `row ${at} of slot ${span.slot} was computed as ${path}`); });
      }
      if (slot.pooling) return { slot: span.slot, token: 0, logprob: 0, top: [], embedding: slot.pooled };
      const token = nextToken(slot.cache.map((row) => row.token), slot.sampling.seed);
      slot.history.push(token);
      return { slot: span.slot, token, logprob: 0, top: [] };
    });
    this.#begin();
    return { stepSeq: step.stepSeq, sampled, run: this.#run, held: step.keep ? this.#held : [] };
  }

  #keeps(rank: RankModel, step: SchedulerStep, slot: number, length: number): readonly Row[] {
    const rows = rank.caches.get(slot) ?? [];
    return rank.run !== 0 && step.keep?.runs.includes(rank.run) && rows.length >= length ? rows : [];
  }

  /** What one worker does with a step. */
  #apply(rank: number, step: SchedulerStep): void {
    const model = this.#ranks[rank]!;
    const { caches } = model;
    model.applied += 1;
    if (step.stepSeq === 1) {
      const kept = (step.keep?.slots ?? []).filter(({ slot, length }) => this.#keeps(model, step, slot, length).length > 0).map(({ slot }) => slot);
      for (const slot of caches.keys()) if (!kept.includes(slot)) caches.delete(slot);
      this.#held = [...this.#held.filter((held) => held.rank !== rank), { rank, slots: kept }];
      if (step.keep?.runs.includes(model.run) !== true) model.run = this.#run;
    } else model.run = this.#run;
    for (const op of step.ops) {
      if (op.op === "drop") caches.delete(op.drop.slot);
      else if (op.op === "copy") caches.set(op.copy.to, (caches.get(op.copy.from) ?? []).slice(0, op.copy.length));
    }
    for (const { slot, position, rows, tokens, lacking } of step.spans) {
      const cache = caches.get(slot) ?? [];
      if (lacking && !lacking.includes(rank)) { check(cache.length >= position + rows, `rank ${rank} was to have kept ${position + rows} rows of slot ${slot}, it has ${cache.length}`); continue; }
      check(position <= cache.length, `position ${position} in a slot of ${cache.length} rows on rank ${rank}`);
      caches.set(slot, [...cache.slice(0, position), ...tokens.map((token) => ({ token, path: rows > 1 ? "chunk" as const : "row" as const }))]);
      this.rowsComputedByRank[rank] = (this.rowsComputedByRank[rank] ?? 0) + rows;
    }
  }

  #op(op: CacheOp, sampling: ReadonlySet<number>): void {
    switch (op.op) {
      case "open": {
        check(!sampling.has(op.open.slot), `slot ${op.open.slot} is opened while a step samples from it`);
        const slot = this.#at(op.open.slot);
        slot.sampling = op.open.sampling ?? greedySampling;
        slot.history = [...op.open.history];
        slot.promptLength = op.open.promptLength;
        slot.pooling = op.open.pooling;
        slot.pooled = [];
        return;
      }
      case "copy": {
        const { from, to, length } = op.copy;
        check(from !== to && !sampling.has(to), `slot ${to} is overwritten while a step samples from it`);
        check(length <= this.#at(from).cache.length, `${length} rows copied from ${this.#at(from).cache.length}`);
        const target = this.#at(to);
        target.cache = this.#at(from).cache.slice(0, length);
        target.touched = Math.max(target.touched, length);
        return;
      }
      default: {
        check(!sampling.has(op.drop.slot), `slot ${op.drop.slot} is dropped while a step samples from it`);
        const slot = this.#at(op.drop.slot);
        slot.cache = [];
        slot.touched = 0;
      }
    }
  }

  #compute(span: SchedulerStep["spans"][number]): void {
    const slot = this.#at(span.slot);
    const end = span.position + span.rows;
    const { tokens } = span;
    check(span.rows >= 1 && tokens.length === span.rows, "rows and tokens differ");
    check(span.position <= slot.cache.length, `position ${span.position} in a slot of ${slot.cache.length} rows`);
    check(end <= this.plan.contextMax, "beyond the context");
    const prefillEnd = this.plan.engineReplay === "prefill" ? slot.history.length : slot.promptLength;
    const chunk = span.rows > 1;
    check(!chunk || span.rows <= Math.max(4, this.plan.prefillChunk), `a chunk of ${span.rows} rows`);
    check(!chunk || end <= prefillEnd, "a chunk goes beyond the prompt");
    check(!chunk || prefillEnd - end !== 1, "a chunk leaves one row alone");
    const lonePrompt = end === 1 && slot.promptLength === 1;
    const decodes = this.plan.engineReplay === "prefill" ? end === slot.history.length && end > slot.promptLength : span.position >= slot.promptLength;
    check(chunk || lonePrompt || decodes, `row ${span.position} of a prompt of ${slot.promptLength} computed alone`);
    check(span.sample === (end === slot.history.length), "sampled before the last known token");
    slot.cache = [...slot.cache.slice(0, span.position), ...tokens.map((token) => ({ token, path: chunk ? "chunk" as const : "row" as const }))];
    slot.touched = Math.max(slot.touched, slot.cache.length);
    check(span.everyRow !== true || slot.pooling === "mean", "rows come back that nobody needs");
    slot.pooled.push(...(span.everyRow ? span.tokens : span.sample ? span.tokens.slice(-1) : []));
    this.rowsComputed += span.rows;
  }

  #at(index: number): SlotModel {
    const slot = this.#slots[index];
    check(slot !== undefined, `no slot ${index}`);
    return slot;
  }
}
