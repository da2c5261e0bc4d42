/** Whatever attempts say and however they end, what is delivered is the undisturbed answer. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ErrorCode, MinidError } from "../../../../src/core/errors.js";
import type { GenerateRequest, GeneratedToken } from "../../../../src/daemon/inference/generate.js";
import { type Recovery, type ResumeEffect, type ResumeInput, ResumableAnswer } from "../../../../src/daemon/inference/resume.js";

const answerTokens = Array.from({ length: 40 }, (_, at) => (at * 17) % 101);
const request: GenerateRequest = {
  requestId: "r", modelId: "m", prompt: [1, 2, 3], emitted: [], maxTokens: answerTokens.length, stopTokens: [],
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map(), seed: 0 },
};
const generated = (from: number, end: number): GeneratedToken[] => answerTokens.slice(from, end).map((token, offset) => ({ token, index: from + offset }));

/** A front door that executes what the core says against a scripted cluster. */
class Door {
  readonly answer: ResumableAnswer;
  readonly delivered: GeneratedToken[] = [];
  readonly recoveries: Recovery[] = [];
  readonly delays: number[] = [];
  call: { attempt: number; request: GenerateRequest } | undefined;
  ended: string | undefined;
  cachedPromptTokens: number | undefined;
  now = 0;

  constructor(of: GenerateRequest = request) {
    this.answer = new ResumableAnswer(of, 0);
    this.input({ kind: "start" });
  }

  input(input: ResumeInput): ResumeEffect[] {
    const effects = this.answer.step(input, this.now);
    for (const effect of effects) {
      switch (effect.kind) {
        case "findLeader": this.call = undefined; this.delays.push(effect.delayMs); break;
        case "call": this.call = effect; break;
        case "recovered": this.recoveries.push(effect.recovery); break;
        case "fail": this.ended = effect.error.code; break;
        default:
          if (effect.event.kind === "tokens") this.delivered.push(...effect.event.tokens);
          if (effect.event.kind === "finished") { this.ended = effect.event.reason; this.cachedPromptTokens = effect.event.cachedPromptTokens; }
      }
    }
    return effects;
  }

  fail(code: ErrorCode): void { this.input({ kind: "failed", attempt: this.call?.attempt ?? 0, error: new MinidError(code, code) }); }
  tokens(from: number, end: number): void { this.input({ kind: "event", attempt: this.call?.attempt ?? 0, event: { kind: "tokens", tokens: generated(from, end) } }); }
  admitted(cachedPromptTokens: number): void { this.input({ kind: "event", attempt: this.call?.attempt ?? 0, event: { kind: "admitted", cachedPromptTokens } }); }
}

describe("an answer that is interrupted at random", () => {
  const attempts = fc.array(fc.record({
    admitted: fc.boolean(),
    /** Tokens before the failure, and how many the attempt repeats of those held already. */
    tokens: fc.nat(12),
    repeats: fc.nat(3),
    code: fc.constantFrom<ErrorCode>("stage_lost", "not_ready", "no_leader", "engine_failed", "draining", "internal_error"),
    /** An abandoned attempt is heard again. */
    echo: fc.boolean(),
  }), { maxLength: 20 });

  it("delivers every token once, in order", () => {
    fc.assert(fc.property(attempts, (script) => {
      const door = new Door();
      for (const { admitted, tokens, repeats, code, echo } of script) {
        door.now += 100;
        door.input({ kind: "leader" });
        const { call } = door;
        if (!call) throw new Error("no call");
        expect(call.request.emitted).toEqual(door.delivered.map(({ token }) => token));
        if (admitted) door.admitted(1);
        const from = Math.max(0, call.request.emitted.length - repeats);
        door.tokens(from, Math.min(answerTokens.length, call.request.emitted.length + tokens));
        door.fail(code);
        if (echo) door.input({ kind: "event", attempt: call.attempt, event: { kind: "tokens", tokens: generated(0, answerTokens.length) } });
      }
      door.input({ kind: "leader" });
      door.tokens(door.delivered.length, answerTokens.length);
      door.input({ kind: "event", attempt: door.call?.attempt ?? 0, event: { kind: "finished", reason: "length", cachedPromptTokens: 9 } });
      expect(door.delivered).toEqual(generated(0, answerTokens.length));
      expect(door.ended).toBe("length");
    }), { numRuns: 300 });
  });
});

describe("an answer", () => {
  it("reports one recovery for an interruption, with the time of each phase", () => {
    const door = new Door();
    door.input({ kind: "leader" });
    door.admitted(5);
    door.now = 100;
    door.tokens(0, 3);
    door.now = 350;
    door.fail("stage_lost");
    door.now = 400;
    door.input({ kind: "leader" });
    door.fail("not_ready");
    door.now = 1_350;
    door.input({ kind: "leader" });
    door.now = 1_400;
    door.tokens(3, 4);
    door.now = 1_500;
    door.tokens(4, 5);
    expect(door.recoveries).toEqual([{ cause: "stage_lost", detectMs: 250, waitMs: 1_000, replayMs: 50, attempts: 2, replayedTokens: 3 }]);
  });

  it("reports the cached prompt tokens of its first admission, as an undisturbed one would", () => {
    const door = new Door();
    door.input({ kind: "leader" });
    door.admitted(5);
    door.fail("stage_lost");
    door.input({ kind: "leader" });
    door.admitted(77);
    door.input({ kind: "event", attempt: 2, event: { kind: "finished", reason: "stop", cachedPromptTokens: 77 } });
    expect(door.cachedPromptTokens).toBe(5);
  });

  it("counts its deadline down over attempts", () => {
    const door = new Door({ ...request, deadlineMs: 1_000 });
    door.now = 300;
    door.input({ kind: "leader" });
    expect(door.call?.request.deadlineMs).toBe(700);
    door.fail("stage_lost");
    door.now = 900;
    door.input({ kind: "leader" });
    expect(door.call?.request.deadlineMs).toBe(100);
  });

  it.each(["invalid_value", "context_length_exceeded", "model_not_found", "deadline_exceeded", "cancelled"] as const)("ends with %s at once", (code) => {
    const door = new Door();
    door.input({ kind: "leader" });
    door.fail(code);
    expect(door.ended).toBe(code);
  });

  it("hands queue_full to a client that was not let in, and waits for its place when it was", () => {
    const refused = new Door();
    refused.input({ kind: "leader" });
    refused.fail("queue_full");
    expect(refused.ended).toBe("queue_full");
    const resumed = new Door();
    resumed.input({ kind: "leader" });
    resumed.admitted(0);
    resumed.fail("stage_lost");
    resumed.input({ kind: "leader" });
    resumed.fail("queue_full");
    expect(resumed.ended).toBeUndefined();
  });

  it("gives up, with growing pauses before, on a request that breaks every ring without a token", () => {
    const door = new Door();
    let attempts = 0;
    while (door.ended === undefined) {
      attempts += 1;
      door.input({ kind: "leader" });
      door.admitted(0);
      door.fail("engine_failed");
    }
    expect([attempts, door.ended]).toEqual([31, "engine_failed"]);
    expect(door.delays.slice(0, 7)).toEqual([0, 20, 40, 80, 160, 250, 250]);
  });

  it("waits for a cluster that is not ready for as long as its deadline allows, and then says what was missing", () => {
    const door = new Door();
    for (let attempt = 0; attempt < 200; attempt += 1) { door.input({ kind: "leader" }); door.fail(attempt % 2 === 0 ? "not_ready" : "stage_lost"); }
    expect(door.ended).toBeUndefined();
    door.input({ kind: "deadline", why: new MinidError("model_does_not_fit", "the model needs 3 GB more") });
    expect(door.ended).toBe("model_does_not_fit");
  });

  it("treats a missing token as a bug", () => {
    const door = new Door();
    door.input({ kind: "leader" });
    door.tokens(0, 2);
    expect(() => { door.tokens(3, 4); }).toThrow(/one was lost/);
  });
});
