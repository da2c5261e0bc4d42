/** Whatever arrives, leaves or breaks: every answer is the one that an undisturbed run gives, and nothing is left behind. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RingPlan } from "../../../../src/daemon/inference/scheduler-types.js";
import { type Wish, SchedulerWorld } from "./scheduler-world.js";

const plans: fc.Arbitrary<RingPlan> = fc.record({
  worldSize: fc.integer({ min: 1, max: 3 }),
  slots: fc.integer({ min: 1, max: 8 }),
  kvTokensMax: fc.oneof(fc.integer({ min: 200, max: 260 }), fc.integer({ min: 260, max: 700 })),
  contextMax: fc.constantFrom(120, 200),
  batchMax: fc.integer({ min: 1, max: 4 }),
  prefillChunk: fc.constantFrom(2, 5, 16, 128),
  engineReplay: fc.constantFrom("prefill" as const, "decode" as const),
});

/** Prompts share prefixes of one of two texts, as conversations do. */
const wishes: fc.Arbitrary<Wish> = fc.record({
  prompt: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 60 }), fc.array(fc.nat(39), { minLength: 1, maxLength: 20 }))
    .map(([text, shared, own]) => [...Array.from({ length: shared }, (_, at) => (at * (text + 3)) % 40), ...own]),
  maxTokens: fc.integer({ min: 1, max: 60 }),
  seed: fc.integer({ min: 0, max: 3 }),
  stopTokens: fc.constantFrom<readonly number[]>([], [7], [3, 11]),
  priority: fc.constantFrom("interactive" as const, "batch" as const),
});

type Action = { kind: "submit"; wish: Wish } | { kind: "goOn"; which: number; own: number[]; maxTokens: number } | { kind: "turns"; count: number } | { kind: "cancel"; which: number } | { kind: "lose"; died: number[]; reach: number[] } | { kind: "replan" } | { kind: "tick"; elapsedMs: number };
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: wishes.map((wish): Action => ({ kind: "submit", wish })) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("goOn" as const), which: fc.nat(50), own: fc.array(fc.nat(39), { maxLength: 6 }), maxTokens: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 12 }).map((count): Action => ({ kind: "turns", count })) },
  { weight: 2, arbitrary: fc.nat(50).map((which): Action => ({ kind: "cancel", which })) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("lose" as const), died: fc.uniqueArray(fc.nat(2), { maxLength: 3 }), reach: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }) }) },
  { weight: 1, arbitrary: fc.constant<Action>({ kind: "replan" }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 400_000 }).map((elapsedMs): Action => ({ kind: "tick", elapsedMs })) },
);

const reserves = fc.constantFrom(1, 8, 40, Number.POSITIVE_INFINITY);

function play(plan: RingPlan, reserveAheadTokens: number, steps: readonly Action[]): SchedulerWorld {
  const world = new SchedulerWorld({ stepTimeoutMs: 1e9, reserveAheadTokens });
  world.ready(plan);
  for (const action of steps) {
    switch (action.kind) {
      case "submit": world.submit(action.wish); break;
      case "goOn": {
        // The next turn of a conversation: its prompt holds an earlier prompt and what was answered so far.
        const client = world.clients[action.which % Math.max(1, world.clients.length)];
        const prompt = client ? [...client.wish.prompt, ...client.emitted, ...action.own].slice(0, plan.contextMax - 1) : [];
        if (prompt.length > 0) world.submit({ prompt, maxTokens: action.maxTokens });
        break;
      }
      case "turns": for (let turn = 0; turn < action.count; turn += 1) world.turn(); break;
      case "cancel": { const client = world.clients[action.which % Math.max(1, world.clients.length)]; if (client) world.cancel(client); break; }
      case "lose": world.lose((rank) => action.reach[rank] ?? 0); world.ready(plan, action.died); break;
      case "replan": world.ready({ ...plan, worldSize: (plan.worldSize % 3) + 1 }); break;
      default: world.now += action.elapsedMs; world.input({ kind: "tick" });
    }
  }
  return world;
}

function checkAnswers(world: SchedulerWorld): void {
  for (const client of world.clients) {
    const expected = world.expected(client);
    if (client.outcome === "cancelled") { expect(expected.slice(0, client.emitted.length)).toEqual(client.emitted); continue; }
    expect(client.emitted).toEqual(expected);
    expect(client.outcome).toBe((client.wish.stopTokens ?? []).includes(expected.at(-1) ?? -1) ? "stop" : "length");
  }
}

function checkEmpty(world: SchedulerWorld): void {
  const { queued, running, slots, kvTokens, stepsInFlight } = world.scheduler.snapshot();
  expect({ queued, running, active: slots.active, reserved: kvTokens.reserved, stepsInFlight }).toEqual({ queued: 0, running: 0, active: 0, reserved: 0, stepsInFlight: 0 });
  // Idle prefixes are given up in the end, on the ring too.
  world.now += 1e9;
  world.input({ kind: "tick" });
  world.drain(2);
  expect(world.ring?.held).toBe(0);
}

describe("the scheduler over random arrivals, cancels and failures", () => {
  it("emits exactly the undisturbed answers, obeys the workers' rules and frees everything", () => {
    fc.assert(fc.property(plans, reserves, fc.array(actions, { maxLength: 60 }), (plan, reserve, steps) => {
      const world = play(plan, reserve, steps);
      const work = world.clients.reduce((sum, { wish }) => sum + wish.prompt.length + wish.maxTokens, 0);
      // No starvation: in the worst case each step computes two rows of a prompt or one token, plus one step for the drops. Without
      // memory to spare, a sequence may be computed again for every stretch that an older one grows by.
      world.drain((work + world.clients.length + 20) * (reserve < 40 ? 10 : 2));
      checkAnswers(world);
      checkEmpty(world);
    }), { numRuns: 600 });
  });

  it("does so when many answers outgrow the memory together", () => {
    let preemptions = 0;
    fc.assert(fc.property(
      fc.record({ worldSize: fc.integer({ min: 1, max: 3 }), engineReplay: fc.constantFrom("prefill" as const, "decode" as const), reserve: fc.constantFrom(1, 3, 16), kvTokensMax: fc.integer({ min: 200, max: 330 }) }),
      fc.array(wishes.map((wish): Wish => ({ ...wish, maxTokens: wish.maxTokens + 60, stopTokens: [] })), { minLength: 3, maxLength: 9 }),
      fc.array(fc.record({ after: fc.nat(60), which: fc.nat(8) }), { maxLength: 3 }),
      ({ worldSize, engineReplay, reserve, kvTokensMax }, many, cancels) => {
        const world = new SchedulerWorld({ stepTimeoutMs: 1e9, reserveAheadTokens: reserve });
        world.ready({ worldSize, slots: 8, kvTokensMax, contextMax: 200, batchMax: 4, prefillChunk: 32, engineReplay });
        for (const wish of many) world.submit(wish);
        for (const { after, which } of cancels) {
          for (let turn = 0; turn < after; turn += 1) world.turn();
          const client = world.clients[which % world.clients.length];
          if (client) world.cancel(client);
        }
        world.drain();
        checkAnswers(world);
        checkEmpty(world);
        preemptions += world.scheduler.snapshot().totals.preemptions;
      },
    ), { numRuns: 80 });
    expect(preemptions).toBeGreaterThan(80);
  });

  it("decides the same from the same inputs", () => {
    fc.assert(fc.property(plans, reserves, fc.array(actions, { maxLength: 30 }), (plan, reserve, steps) => {
      expect(play(plan, reserve, steps).effects).toEqual(play(plan, reserve, steps).effects);
    }), { numRuns: 30 });
  });
});
