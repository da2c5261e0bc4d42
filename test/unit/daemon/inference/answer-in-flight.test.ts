/**
 * Front doors, leaders and rings as pure cores in virtual time: rings break, leaders change, connections are cut while the leader
 * computes on, messages are late and front doors believe in leaders that are gone. Every answer is the undisturbed one.
 * A failure names its seed: `MINID_SEED=n npx vitest run answer-in-flight` plays it alone.
 */
import { describe, expect, it } from "vitest";
import { MinidError } from "../../../../src/core/errors.js";
import type { GenerateEvent, GenerateRequest } from "../../../../src/daemon/inference/generate.js";
import { type ResumeInput, ResumableAnswer } from "../../../../src/daemon/inference/resume.js";
import { samplingToWire } from "../../../../src/daemon/inference/sampling-wire.js";
import { type RingPlan, type SchedulerEffect, type SchedulerInput, defaultSchedulerLimits } from "../../../../src/daemon/inference/scheduler-types.js";
import { Scheduler } from "../../../../src/daemon/inference/scheduler.js";
import { RingModel, undisturbed } from "./ring-model.js";

const faultsUntilMs = 8_000;
const doneByMs = 60_000;
const contextMax = 160;

/** mulberry32 */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

class World {
  now = 0;
  readonly pick: (below: number) => number;
  readonly leaders: Leader[];
  readonly doors: Door[];
  /** Who leads, and since when doors may have heard of it. */
  leading: Leader | undefined;
  readonly #queue: { atMs: number; order: number; act: () => void }[] = [];
  #order = 0;

  constructor(seed: number) {
    this.pick = random(seed);
    const engineReplay = this.pick(2) === 0 ? "prefill" as const : "decode" as const;
    this.leaders = Array.from({ length: 3 }, () => new Leader(this, engineReplay));
    this.doors = Array.from({ length: 12 }, (_, number) => new Door(this, number));
    this.lead(this.leaders[0]);
    for (const door of this.doors) this.at(this.pick(3_000), () => { door.input({ kind: "start" }); });
    for (let atMs = this.pick(400); atMs < faultsUntilMs; atMs += 20 + this.pick(600)) this.at(atMs, () => { this.#fault(); });
    this.at(faultsUntilMs, () => { if (!this.leading) this.lead(this.leaders[this.pick(3)]); });
  }

  at(delayMs: number, act: () => void): void {
    this.#queue.push({ atMs: this.now + delayMs, order: this.#order, act });
    this.#order += 1;
  }

  run(): void {
    while (this.now < doneByMs && this.doors.some((door) => !door.ended)) {
      let next = 0;
      for (const [at, candidate] of this.#queue.entries()) {
        const best = this.#queue[next];
        if (best && (candidate.atMs < best.atMs || (candidate.atMs === best.atMs && candidate.order < best.order))) next = at;
      }
      const [event] = this.#queue.splice(next, 1);
      if (!event) return;
      this.now = event.atMs;
      event.act();
    }
  }

  lead(leader: Leader | undefined): void {
    this.leading = leader;
    this.at(30 + this.pick(200), () => { if (this.leading === leader) leader?.ready(); });
  }

  #fault(): void {
    switch (this.pick(4)) {
      case 0: this.leading?.breakRing(); break;
      case 1: {
        // The old leader learns of it late, and computes on until then.
        const old = this.leading;
        this.lead(undefined);
        this.at(this.pick(300), () => { if (this.leading !== old) old?.step({ kind: "notReady", reason: "superseded" }); });
        this.at(50 + this.pick(500), () => { if (!this.leading) this.lead(this.leaders[this.pick(3)]); });
        break;
      }
      default: this.doors[this.pick(this.doors.length)]?.cut();
    }
  }
}

class Leader {
  readonly #world: World;
  readonly #plan: RingPlan;
  readonly #scheduler = new Scheduler({ ...defaultSchedulerLimits, prefixTokensMin: 4, mixedPrefillTokens: 16 });
  readonly #calls = new Map<number, { tell: (event: GenerateEvent) => void; fail: (error: MinidError) => void }>();
  #ring: RingModel | undefined;
  #nextId = 1;

  constructor(world: World, engineReplay: RingPlan["engineReplay"]) {
    this.#world = world;
    this.#plan = { worldSize: 2, slots: 5, kvTokensMax: 500, contextMax, batchMax: 2, prefillChunk: 16, engineReplay };
  }

  ready(): void {
    this.#ring = new RingModel(this.#plan);
    this.step({ kind: "ready", plan: this.#plan });
  }

  breakRing(): void {
    if (!this.#ring) return;
    this.step({ kind: "stepFailed", code: "stage_lost", message: "killed" });
    this.#world.at(50 + this.#world.pick(400), () => { if (this.#world.leading === this && !this.#ring) this.ready(); });
  }

  /** @returns how to cancel. */
  submit(request: GenerateRequest, tell: (event: GenerateEvent) => void, fail: (error: MinidError) => void): () => void {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#calls.set(id, { tell, fail });
    const { prompt, emitted, maxTokens, stopTokens } = request;
    this.step({ kind: "submit", id, request: { prompt, emitted, maxTokens, stopTokens, sampling: samplingToWire(request.sampling) } });
    return () => { this.#calls.delete(id); this.step({ kind: "cancel", id }); };
  }

  step(input: SchedulerInput): void {
    if (input.kind === "notReady") this.#ring = undefined;
    for (const effect of this.#scheduler.step(input, this.#world.now)) this.#execute(effect);
  }

  #execute(effect: SchedulerEffect): void {
    if (effect.kind === "sendStep") {
      const ring = this.#ring;
      ring?.send(effect.step);
      this.#world.at(1 + this.#world.pick(15), () => { if (ring && this.#ring === ring) this.step({ kind: "stepResult", ...ring.receive() }); });
      return;
    }
    if (effect.kind === "ringLost") { this.#ring = undefined; return; }
    const call = this.#calls.get(effect.id);
    switch (effect.kind) {
      case "admitted": call?.tell({ kind: "admitted", cachedPromptTokens: effect.cachedPromptTokens }); break;
      case "emit": call?.tell({ kind: "tokens", tokens: [effect.token] }); break;
      case "finish": call?.tell({ kind: "finished", reason: effect.reason, cachedPromptTokens: effect.cachedPromptTokens }); break;
      default: call?.fail(new MinidError(effect.code, effect.message));
    }
  }
}

class Door {
  readonly request: GenerateRequest;
  readonly delivered: number[] = [];
  ended: string | undefined;
  readonly #world: World;
  readonly #answer: ResumableAnswer;
  #believed: Leader | undefined;
  #connection: { readonly attempt: number; cancel: () => void } | undefined;

  constructor(world: World, number: number) {
    this.#world = world;
    this.request = {
      requestId: `r${number}`, modelId: "m", emitted: [], maxTokens: 10 + world.pick(60), stopTokens: world.pick(2) === 0 ? [] : [3],
      prompt: [...Array.from({ length: world.pick(40) }, (_, at) => at % 40), ...Array.from({ length: 1 + world.pick(20) }, () => world.pick(40))],
      sampling: { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map(), seed: world.pick(1_000) },
    };
    this.#answer = new ResumableAnswer(this.request, 0);
  }

  input(input: ResumeInput): void {
    for (const effect of this.#answer.step(input, this.#world.now)) {
      switch (effect.kind) {
        case "findLeader": this.#world.at(effect.delayMs, () => { this.#findLeader(); }); break;
        case "call": this.#call(effect.attempt, effect.request); break;
        case "deliver":
          if (effect.event.kind === "tokens") for (const { token, index } of effect.event.tokens) { expect(index).toBe(this.delivered.length); this.delivered.push(token); }
          if (effect.event.kind === "finished") this.ended = effect.event.reason;
          break;
        case "fail": this.ended = effect.error.code; break;
        default: expect(effect.recovery.attempts).toBeGreaterThan(0);
      }
    }
  }

  /** The connection breaks; the leader notices some time later. */
  cut(): void {
    const connection = this.#connection;
    if (!connection) return;
    this.#connection = undefined;
    this.#world.at(this.#world.pick(400), () => { connection.cancel(); });
    this.input({ kind: "failed", attempt: connection.attempt, error: new MinidError("stage_lost", "connection reset") });
  }

  /** What a door believes may be old: now and then it calls whoever led before. */
  #findLeader(): void {
    const stale = this.#believed && this.#world.pick(4) === 0 ? this.#believed : this.#world.leading;
    if (!stale) { this.#world.at(20, () => { this.#findLeader(); }); return; }
    this.#believed = stale;
    this.input({ kind: "leader" });
  }

  #call(attempt: number, request: GenerateRequest): void {
    const world = this.#world;
    const leader = this.#believed;
    if (!leader) throw new Error("a call without a leader");
    let arrivesMs = 0;
    /** In order, as on one stream; also from connections that were cut, if late. */
    const deliver = (input: ResumeInput): void => {
      arrivesMs = Math.max(arrivesMs, world.now + world.pick(30));
      world.at(arrivesMs - world.now, () => { this.input(input); });
    };
    let cancelled = false;
    const connection = { attempt, cancel: () => { cancelled = true; } };
    this.#connection = connection;
    world.at(world.pick(10), () => {
      if (cancelled) return;
      connection.cancel = leader.submit(request, (event) => { deliver({ kind: "event", attempt, event }); }, (error) => { deliver({ kind: "failed", attempt, error }); });
    });
  }
}

const chosen = process.env.MINID_SEED;
/** Thirty runs a test, so that a failure names a small range. */
const blocks: readonly (readonly number[])[] = chosen === undefined ? Array.from({ length: 10 }, (_, block) => Array.from({ length: 30 }, (_, at) => block * 30 + at)) : [[Number(chosen)]];

function play(seed: number): void {
  const world = new World(seed);
  world.run();
  for (const door of world.doors) {
    const { prompt, maxTokens, stopTokens, sampling } = door.request;
    const expected = undisturbed(prompt, { seed: sampling.seed, maxTokens, stopTokens, lengthMax: contextMax });
    expect({ seed, request: door.request.requestId, tokens: door.delivered }).toEqual({ seed, request: door.request.requestId, tokens: expected });
    expect(["stop", "length"]).toContain(door.ended);
  }
}

describe("answers in flight", () => {
  it.each(blocks.map((block) => ({ block, from: block[0], to: block.at(-1) })))("survive every fault of seeds $from to $to", ({ block }) => { for (const seed of block) play(seed); });
});
