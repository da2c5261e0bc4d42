/** What an API key may spend: the arithmetic, and what a client sees of it. */
import { array, assert, integer, property, record } from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Budget, duration } from "../../../../src/api/limits/budget.js";
import { isBatch } from "../../../../src/api/priority.js";
import type { ServedModel } from "../../../../src/api/served-model.js";
import type { Clock } from "../../../../src/core/clock.js";
import { systemClock } from "../../../../src/core/clock.js";
import { millis } from "../../../../src/core/ids.js";
import type { KeyLimits } from "../../../../src/core/trust/records.js";
import { encode, expectError, frontDoor, saying, ScriptedGenerator, silent, smolModel, until, userSays } from "../support.js";

describe("a budget", () => {
  it("lets in what was allowed and no more, over any times and sizes, and its Retry-After is true", () => {
    const step = record({ waitMs: integer({ min: 0, max: 30_000 }), prompt: integer({ min: 1, max: 900 }), answer: integer({ min: 0, max: 300 }) });
    assert(property(array(step, { maxLength: 60 }), (steps) => {
      const budget = new Budget({ requestsPerMinute: 30, tokensPerMinute: 600 });
      let now = 0;
      let requests = 0;
      let tokens = 0;
      let largest = 0;
      for (const { waitMs, prompt, answer } of steps) {
        now += waitMs;
        const refused = budget.enter(now);
        if (refused) {
          // Nobody spends meanwhile: after exactly that time it is let in.
          now += refused.retryAfterSeconds * 1_000;
          if (budget.enter(now)) return false;
        }
        requests += 1;
        const late = budget.prompt(prompt, now);
        if (late) {
          now += late.retryAfterSeconds * 1_000;
          if (budget.prompt(prompt, now)) return false;
        }
        budget.spend(answer, now);
        tokens += prompt + answer;
        largest = Math.max(largest, prompt + answer);
        budget.leave(1);
        if (requests > 30 + now / 2_000 + 1) return false;
        // A debt of at most one request: what was let in last.
        if (tokens > 600 + now / 100 + largest + 1) return false;
      }
      return true;
    }), { numRuns: 300 });
  });

  it("bounds requests at once, and lets the next one in as soon as one leaves", () => {
    const budget = new Budget({ concurrentRequests: 2 });
    expect([budget.enter(0), budget.enter(0), budget.enter(0)?.limit]).toEqual([undefined, undefined, "concurrent_requests"]);
    budget.leave(3);
    expect(budget.enter(0)).toBeUndefined();
    expect(budget.headers(0)).toEqual({});
  });

  it("tells what is left in OpenAI's headers, for the limits that are on", () => {
    const budget = new Budget({ tokensPerMinute: 600 });
    budget.enter(0);
    budget.prompt(100, 0);
    expect(budget.headers(0)).toEqual({ "x-ratelimit-limit-tokens": "600", "x-ratelimit-remaining-tokens": "500", "x-ratelimit-reset-tokens": "10s" });
    expect(budget.headers(10_000)["x-ratelimit-reset-tokens"]).toBe("0ms");
    expect([0.02, 1.5, 59.9999, 360].map(duration)).toEqual(["20ms", "1.5s", "1m0s", "6m0s"]);
  });

  it("is not filled by a clock that goes back", () => {
    const budget = new Budget({ requestsPerMinute: 1 });
    expect([budget.enter(1_000), budget.enter(0)?.retryAfterSeconds, budget.enter(1_000)?.retryAfterSeconds]).toEqual([undefined, 60, 60]);
  });
});

describe("the priority header", () => {
  it("marks batch work by its urgency", () => {
    expect(["u=5", "i, u=7", "u=6, i", "u=5;x=1"].map(isBatch)).toEqual([true, true, true, true]);
    expect([undefined, "", "u=3", "u=0", "u=9", "xu=7", "u=55", "u="].map(isBatch)).toEqual(Array.from({ length: 8 }, () => false));
  });
});

describe("the front door with limits", () => {
  let model: ServedModel;
  beforeAll(async () => { model = await smolModel(); });
  const door = (keyLimits: KeyLimits, generator = new ScriptedGenerator(saying(encode(model, " one two"))), own: KeyLimits = {}) => {
    let nowMs = 1_000_000;
    const clock: Clock = { ...systemClock, now: () => millis(nowMs) };
    const keys = { find: (text: string) => (text === "good" ? { keyId: "k", name: "team", scopes: ["inference" as const], limits: own } : undefined) };
    const server = frontDoor(model, generator, { clock, keys }, { keyLimits });
    const chat = async (headers: Record<string, string> = { authorization: "Bearer good" }) => {
      const response = await server.inject({ method: "POST", url: "/v1/chat/completions", headers, payload: userSays("Hi", { max_tokens: 2 }) });
      return { status: response.statusCode, headers: response.headers, json: () => response.json() };
    };
    return { chat, pass: (ms: number) => { nowMs += ms; } };
  };

  it("refuses with 429, a Retry-After that is true, and x-ratelimit headers", async () => {
    const { chat, pass } = door({ requestsPerMinute: 2 });
    expect((await chat()).headers).toMatchObject({ "x-ratelimit-limit-requests": "2", "x-ratelimit-remaining-requests": "1" });
    await chat();
    const refused = await chat();
    expectError(refused, 429, "rate_limit_exceeded", null);
    expect(refused.headers).toMatchObject({ "retry-after": "30", "x-should-retry": "true", "x-ratelimit-remaining-requests": "0" });
    pass(29_000);
    expect((await chat()).status).toBe(429);
    pass(1_000);
    expect((await chat()).status).toBe(200);
  });

  it("counts the tokens read and written, and holds a key to its own limit before the common one", async () => {
    const { chat, pass } = door({ tokensPerMinute: 1_000_000 }, undefined, { tokensPerMinute: 60 });
    const first = await chat();
    const { usage } = first.json() as { usage: { total_tokens: number } };
    expect(usage.total_tokens).toBeGreaterThan(30);
    const refused = await chat();
    expectError(refused, 429, "rate_limit_exceeded", null);
    pass(1_000 * Number(refused.headers["retry-after"]));
    expect((await chat()).status).toBe(200);
  });

  it("leaves callers on this machine alone, and sends no headers while nothing is limited", async () => {
    const { chat } = door({ requestsPerMinute: 1 });
    for (let n = 0; n < 3; n += 1) expect((await chat({})).status).toBe(200);
    const { headers } = await door({}).chat();
    expect(Object.keys(headers).filter((name) => name.startsWith("x-ratelimit"))).toEqual([]);
  });

  it("gives the place of a client that went away to the next", async () => {
    const generator = new ScriptedGenerator(silent);
    const { chat } = door({ concurrentRequests: 1 }, generator);
    const waiting = chat({ authorization: "Bearer good", timeout: "0.2" });
    await until(() => expect(generator.requests).toHaveLength(1));
    expectError(await chat(), 429, "rate_limit_exceeded", null);
    expect((await waiting).status).toBe(504);
    const next = chat({ authorization: "Bearer good", timeout: "0.2" });
    await until(() => expect(generator.requests).toHaveLength(2));
    await next;
  });
});
