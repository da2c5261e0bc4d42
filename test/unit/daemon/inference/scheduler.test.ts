import { describe, expect, it } from "vitest";
import type { SchedulerEffect, SchedulerStep } from "../../../../src/daemon/inference/scheduler-types.js";
import { SchedulerWorld, type defaultPlan } from "./scheduler-world.js";

const text = (length: number, salt = 0): number[] => Array.from({ length }, (_, at) => (at * 7 + salt * 13 + (at >> 3)) % 40);
const steps = (effects: readonly SchedulerEffect[]): SchedulerStep[] => effects.flatMap((effect) => (effect.kind === "sendStep" ? [effect.step] : []));
const rowsOf = (step: SchedulerStep): number[] => step.spans.map((span) => span.rows);

/** A world whose drop-everything step is done. */
function begin(plan: Partial<typeof defaultPlan> = {}, limits: ConstructorParameters<typeof SchedulerWorld>[0] = {}): SchedulerWorld {
  const world = new SchedulerWorld(limits);
  world.ready(plan);
  world.drain();
  world.effects.length = 0;
  return world;
}

describe("a ring that comes and goes", () => {
  it("is levelled by a first step that drops every slot", () => {
    const world = new SchedulerWorld();
    world.ready({ slots: 3 });
    expect(steps(world.effects)).toEqual([{ stepSeq: 1, spans: [], ops: [0, 1, 2].map((slot) => ({ op: "drop", drop: { slot } })) }]);
  });

  it("refuses with not_ready and the reason while there is none", () => {
    const world = begin();
    world.input({ kind: "notReady", reason: "machine mini2 is gone" });
    world.effects.length = 0;
    world.submit({ prompt: [1], maxTokens: 1 });
    expect(world.effects).toMatchObject([{ kind: "fail", code: "not_ready", message: "No ring is ready to compute: machine mini2 is gone." }]);
  });

  it("fails running sequences with stage_lost and waiting ones with not_ready when a step fails", () => {
    const world = begin({ batchMax: 1 });
    const running = world.submit({ prompt: text(20), maxTokens: 50 });
    const waiting = world.submit({ prompt: text(20, 1), maxTokens: 50 });
    world.turn();
    world.effects.length = 0;
    world.lose();
    expect(world.effects.map((effect) => (effect.kind === "fail" ? [effect.id, effect.code] : effect.kind))).toEqual([[running.id, "stage_lost"], [waiting.id, "not_ready"], "ringLost"]);
  });

  it("is lost when a step stays in it for longer than the bound", () => {
    const world = begin({}, { stepTimeoutMs: 1_000 });
    world.submit({ prompt: text(20), maxTokens: 5 });
    world.now += 1_000;
    expect(world.input({ kind: "tick" })).toEqual([]);
    world.now += 1;
    expect(world.input({ kind: "tick" }).map((effect) => effect.kind)).toEqual(["fail", "ringLost"]);
  });

  it("loses nothing but the one sequence whose numbers went bad, and gives its cache to nobody", () => {
    const world = begin();
    const bad = world.submit({ prompt: text(20), maxTokens: 30 });
    const good = world.submit({ prompt: text(20, 1), maxTokens: 30 });
    while (bad.emitted.length < 3 || good.emitted.length < 3) world.turn();
    const ring = world.ring!;
    const result = ring.receive();
    const [token] = result.sampled;
    world.input({ kind: "stepResult", ...result, sampled: [{ ...token!, errorCode: "output_not_finite", error: "layers 0 to 3 (rank 0)" }, ...result.sampled.slice(1)] });
    world.drain();
    const [emitted, other] = bad.outcome === "length" ? [good, bad] : [bad, good];
    expect([emitted.outcome, other.outcome, other.resumes]).toEqual(["output_not_finite", "length", 0]);
    expect(other.emitted).toEqual(world.expected(other));
    const again = world.submit({ prompt: emitted.wish.prompt, maxTokens: 4 });
    world.drain();
    expect([again.cachedPromptTokens, again.outcome]).toEqual([0, "length"]);
  });

  it("hands a worker's verdict to the request that began in the step, and stage_lost to the others", () => {
    const world = begin();
    const innocent = world.submit({ prompt: text(20), maxTokens: 50 });
    world.turn();
    const wrong = world.submit({ prompt: text(20, 1), maxTokens: 50 });
    world.turn();
    world.turn();
    world.input({ kind: "stepFailed", code: "invalid_value", message: "token 99 is not in the vocabulary" });
    expect([wrong.outcome, innocent.resumes]).toEqual(["invalid_value", 1]);
  });

  it("is lost when it answers for a slot that was not asked", () => {
    const world = begin();
    world.submit({ prompt: text(20), maxTokens: 5 });
    expect(world.input({ kind: "stepResult", stepSeq: 2, sampled: [{ slot: 5, token: 1, logprob: 0, top: [] }] }).at(-1)).toMatchObject({ kind: "ringLost", code: "engine_failed" });
  });
});

describe("a step", () => {
  it("serves every decoding sequence while a long prompt goes by in bounded chunks", () => {
    const world = begin({}, { mixedPrefillTokens: 16 });
    for (let salt = 1; salt <= 3; salt += 1) world.submit({ prompt: text(6, salt), maxTokens: 100 });
    world.turn();
    world.turn();
    world.effects.length = 0;
    world.submit({ prompt: text(100), maxTokens: 1 });
    // One step was on its way when the long prompt came.
    for (let turn = 0; turn < 8; turn += 1) world.turn();
    expect(steps(world.effects).slice(0, 7).map(rowsOf)).toEqual([...Array.from({ length: 6 }, () => [1, 1, 1, 16]), [1, 1, 1, 4]]);
  });

  it("never takes one row of a prompt nor leaves one", () => {
    const world = begin({ prefillChunk: 32 });
    world.submit({ prompt: text(65), maxTokens: 1 });
    world.drain();
    expect(steps(world.effects).flatMap(rowsOf)).toEqual([32, 31, 2]);
  });

  it("lets a short prompt go along with a long one that came first", () => {
    const world = begin({ prefillChunk: 32 });
    world.submit({ prompt: text(300), maxTokens: 1 });
    const short = world.submit({ prompt: text(20, 1), maxTokens: 1 });
    for (let turn = 0; turn < 3; turn += 1) world.turn();
    expect(short.outcome).toBe("length");
    expect(steps(world.effects)[1]?.spans.map((span) => span.rows).sort((a, b) => a - b)).toEqual([16, 16]);
  });

  it("follows the one that samples the token it feeds, without waiting for that token; never a third", () => {
    const world = begin();
    const client = world.submit({ prompt: text(20), maxTokens: 5 });
    expect(client.emitted).toEqual([]);
    expect(steps(world.effects).at(-1)?.spans).toEqual([{ slot: 0, position: 20, rows: 1, tokens: [], sample: true }]);
    expect(world.ring?.inflight).toBe(2);
    world.drain();
    expect(client.emitted).toEqual(world.expected(client));
    // Drops, the prompt, and four tokens fed: the last one of the answer is not, because its place is known.
    expect(world.ring?.stepsSent).toBe(6);
  });

  it("is computed for nothing behind a token that ends the answer, and its row is not taken for anybody's", () => {
    const world = begin();
    const [, second] = world.expected(world.submit({ prompt: text(20), maxTokens: 9 }));
    world.drain();
    const client = world.submit({ prompt: text(20), maxTokens: 9, stopTokens: [second ?? 0] });
    world.drain();
    expect([client.outcome, client.emitted.at(-1)]).toEqual(["stop", second]);
    const next = world.submit({ prompt: [...text(20), ...client.emitted, 3, 1], maxTokens: 5 });
    world.drain();
    expect(next.emitted).toEqual(world.expected(next));
    expect(world.scheduler.snapshot().slots.active).toBe(0);
  });

  it("is one of two in flight for each machine, each with its share of the sequences", () => {
    const world = begin({ worldSize: 2 });
    for (let salt = 1; salt <= 4; salt += 1) world.submit({ prompt: text(6, salt), maxTokens: 40 });
    for (let turn = 0; turn < 8; turn += 1) world.turn();
    world.effects.length = 0;
    for (let turn = 0; turn < 6; turn += 1) world.turn();
    expect(world.ring?.inflight).toBe(4);
    expect(steps(world.effects).map(rowsOf)).toEqual(Array.from({ length: 6 }, () => [1, 1]));
  });

  it("follows another with the next chunk of the same prompt, so that a long prompt keeps two machines busy", () => {
    const world = begin({ worldSize: 2, prefillChunk: 32 });
    world.submit({ prompt: text(100), maxTokens: 1 });
    expect(steps(world.effects).map(({ spans }) => spans[0]?.position)).toEqual([0, 32]);
  });

  it("replays an answer one row at a time where the engine asks for it, and samples only at the end", () => {
    const world = begin({ engineReplay: "decode" });
    const whole = world.submit({ prompt: text(10), maxTokens: 6 });
    world.drain();
    world.lose();
    world.ready({ engineReplay: "decode" }, [0]);
    world.drain();
    world.effects.length = 0;
    const resumed = world.submit({ ...whole.wish, maxTokens: 4 }, whole.emitted.slice(0, 3));
    world.drain();
    expect(resumed.emitted).toEqual(whole.emitted.slice(0, 4));
    expect(steps(world.effects).flatMap(({ spans }) => spans.map(({ rows, sample }) => [rows, sample]))).toEqual([[10, false], [1, false], [1, false], [1, true]]);
    expect(world.scheduler.snapshot().totals.replayedTokens).toBe(3);
  });
});

describe("the line", () => {
  it("refuses with queue_full and a Retry-After that follows the measured rate, but takes a resumed answer in", () => {
    const world = begin({ batchMax: 1 }, { queueMax: 2 });
    for (let salt = 0; salt < 20; salt += 1) {
      world.submit({ prompt: text(6, salt), maxTokens: 1 });
      while (world.turn(7_000)) { /* one request takes seven seconds */ }
    }
    for (let salt = 0; salt < 3; salt += 1) world.submit({ prompt: text(6, salt), maxTokens: 9 });
    const refused = world.submit({ prompt: text(6), maxTokens: 9 });
    expect(refused.outcome).toBe("queue_full");
    const failure = world.effects.at(-1);
    expect(failure?.kind === "fail" ? failure.retryAfterSeconds : 0).toBe(7);
    const resumed = world.submit(refused.wish, world.expected(refused).slice(0, 2));
    expect(resumed.outcome).toBe("running");
    world.drain();
    expect(resumed.emitted).toEqual(world.expected(resumed));
  });

  it("keeps the room that a big request needs, however many small ones come after it", () => {
    const world = begin({ kvTokensMax: 300, slots: 8 });
    world.submit({ prompt: text(20, 1), maxTokens: 30 });
    const big = world.submit({ prompt: text(200, 2), maxTokens: 90 });
    const small = Array.from({ length: 6 }, (_, salt) => world.submit({ prompt: text(10, salt + 3), maxTokens: 10 }));
    while (big.outcome === "running") expect(world.turn()).toBe(true);
    expect(small.every((client) => client.emitted.length === 0 || big.emitted.length > 0)).toBe(true);
  });

  it("lets interactive requests go before batch ones, for a bounded time", () => {
    const world = begin({ batchMax: 1 });
    world.submit({ prompt: text(10), maxTokens: 5 });
    const batch = world.submit({ prompt: text(10, 1), maxTokens: 5, priority: "batch" });
    const soon = world.submit({ prompt: text(10, 2), maxTokens: 5 });
    world.now += 60_000;
    const late = world.submit({ prompt: text(10, 3), maxTokens: 5 });
    world.drain();
    const order = world.effects.flatMap((effect) => (effect.kind === "admitted" ? [effect.id] : []));
    expect(order.slice(1)).toEqual([soon.id, batch.id, late.id]);
  });

  it("fails what waits and what runs when its deadline passes, and goes on with the rest", () => {
    const world = begin({ batchMax: 1 });
    const running = world.submit({ prompt: text(10), maxTokens: 100, deadlineAtMs: 50 });
    const waiting = world.submit({ prompt: text(10, 1), maxTokens: 100, deadlineAtMs: 60 });
    const patient = world.submit({ prompt: text(10, 2), maxTokens: 3 });
    world.now = 70;
    world.input({ kind: "tick" });
    world.drain();
    expect([running.outcome, waiting.outcome, patient.outcome]).toEqual(["deadline_exceeded", "deadline_exceeded", "length"]);
  });
});

describe("a request", () => {
  it("is refused when its prompt leaves no room in the context", () => {
    expect(begin({ contextMax: 64 }).submit({ prompt: text(64), maxTokens: 1 }).outcome).toBe("context_length_exceeded");
  });

  it("is refused with a retryable error when the ring has too little memory for what it holds already", () => {
    expect(begin({ kvTokensMax: 50 }).submit({ prompt: text(60), maxTokens: 1 }).outcome).toBe("out_of_kv");
  });

  it("ends with length when the context is used up", () => {
    const world = begin({ contextMax: 32 });
    const client = world.submit({ prompt: text(20), maxTokens: 100 });
    world.drain();
    expect([client.outcome, client.emitted.length]).toEqual(["length", 12]);
  });

  it("is finished at once when what the caller holds is the whole answer", () => {
    const world = begin();
    expect(world.submit({ prompt: [1, 2], maxTokens: 9, stopTokens: [9] }, [5, 9]).outcome).toBe("stop");
    expect(world.submit({ prompt: [1, 2], maxTokens: 2 }, [5, 9]).outcome).toBe("length");
    expect(steps(world.effects)).toEqual([]);
  });

  it("that is cancelled while its steps are in flight frees its slot behind them", () => {
    const world = begin({ slots: 1 }, { prefixTokensMin: 100 });
    const client = world.submit({ prompt: text(20), maxTokens: 50 });
    world.turn();
    world.effects.length = 0;
    world.cancel(client);
    world.turn();
    expect(world.effects).toEqual([]);
    world.turn();
    expect(steps(world.effects)).toEqual([{ stepSeq: 5, ops: [{ op: "drop", drop: { slot: 0 } }], spans: [] }]);
    expect(world.scheduler.snapshot().slots.active).toBe(0);
  });
});

describe("memory", () => {
  /** Two answers that together outgrow the ring's memory. */
  const tight = (reserveAheadTokens: number): SchedulerWorld => begin({ kvTokensMax: 200, contextMax: 180 }, { reserveAheadTokens });

  it("is reserved ahead of an answer, not for all it may come to, so that more of them run at once", () => {
    const world = tight(16);
    world.submit({ prompt: text(20), maxTokens: 150 });
    world.submit({ prompt: text(20, 1), maxTokens: 150 });
    world.turn();
    expect(world.scheduler.snapshot()).toMatchObject({ running: 2, kvTokens: { reserved: 72 } });
    const cautious = tight(Number.POSITIVE_INFINITY);
    cautious.submit({ prompt: text(20), maxTokens: 150 });
    cautious.submit({ prompt: text(20, 1), maxTokens: 150 });
    cautious.turn();
    expect(cautious.scheduler.snapshot()).toMatchObject({ running: 1, queued: 1, kvTokens: { reserved: 170 } });
  });

  it("goes to the oldest when it runs out; the youngest is computed again and nobody sees it", () => {
    const world = tight(16);
    const old = world.submit({ prompt: text(20), maxTokens: 150 });
    const young = world.submit({ prompt: text(20, 1), maxTokens: 150 });
    world.drain();
    expect(world.scheduler.snapshot().totals.preemptions).toBeGreaterThan(0);
    expect(world.scheduler.snapshot().totals.replayedTokens).toBeGreaterThan(0);
    for (const client of [old, young]) expect([client.emitted, client.resumes]).toEqual([world.expected(client), 0]);
    expect(world.effects.filter((effect) => effect.kind === "admitted")).toHaveLength(2);
    const lastOf = (id: number): number => world.effects.findLastIndex((effect) => effect.kind === "emit" && effect.id === id);
    expect(lastOf(old.id)).toBeLessThan(lastOf(young.id));
  });

  it("is not given to newcomers while a running sequence waits for it", () => {
    const world = tight(16);
    const clients = Array.from({ length: 6 }, (_, salt) => world.submit({ prompt: text(20, salt), maxTokens: 120 }));
    world.drain();
    const firstEmitted = clients.map(({ id }) => world.effects.findIndex((effect) => effect.kind === "emit" && effect.id === id));
    expect(firstEmitted).toEqual(firstEmitted.toSorted((a, b) => a - b));
    for (const client of clients) expect(client.emitted).toEqual(world.expected(client));
  });
});

describe("the prefix cache", () => {
  it("computes one prompt once for several answers to it", () => {
    const world = begin({ batchMax: 4 });
    const answers = Array.from({ length: 4 }, (_, seed) => world.submit({ prompt: text(90), maxTokens: 5, seed }));
    world.drain();
    expect(world.scheduler.snapshot().totals.prefillTokens).toBe(90 + 3 * 2);
    expect(answers.map((answer) => answer.cachedPromptTokens)).toEqual([0, 88, 88, 88]);
    for (const answer of answers) expect(answer.emitted).toEqual(world.expected(answer));
  });

  it("goes on with a conversation in the slot that holds it", () => {
    const world = begin();
    const first = world.submit({ prompt: text(50), maxTokens: 10 });
    world.drain();
    const next = world.submit({ prompt: [...text(50), ...first.emitted, ...text(12, 5)], maxTokens: 3 });
    world.drain();
    expect(next.cachedPromptTokens).toBe(59);
    expect(next.emitted).toEqual(world.expected(next));
    expect(steps(world.effects).flatMap(({ ops }) => ops.filter((op) => op.op === "copy"))).toEqual([]);
  });

  it("copies a short common beginning and keeps the longer conversation it came from", () => {
    const world = begin();
    world.submit({ prompt: text(100), maxTokens: 4 });
    world.drain();
    const other = world.submit({ prompt: [...text(30), 39, 39, 1, 2], maxTokens: 3 });
    world.drain();
    expect(other.cachedPromptTokens).toBe(30);
    expect(steps(world.effects).flatMap(({ ops }) => ops.filter((op) => op.op === "copy"))).toEqual([{ op: "copy", copy: { from: 0, to: 1, length: 30 } }]);
    expect(world.scheduler.snapshot().slots.cached).toBe(2);
  });

  it("shares only what was computed in chunks where the engine's two paths differ", () => {
    const world = begin({ engineReplay: "decode" });
    const first = world.submit({ prompt: text(50), maxTokens: 10 });
    world.drain();
    const next = world.submit({ prompt: [...text(50), ...first.emitted, ...text(12, 5)], maxTokens: 3 });
    world.drain();
    expect(next.cachedPromptTokens).toBe(50);
    expect(next.emitted).toEqual(world.expected(next));
  });

  it("gives up the least recently used prefixes when a request needs their memory", () => {
    const world = begin({ kvTokensMax: 200 });
    for (let salt = 1; salt <= 3; salt += 1) { world.submit({ prompt: text(50, salt), maxTokens: 2 }); world.drain(); }
    world.effects.length = 0;
    world.submit({ prompt: text(90, 9), maxTokens: 2 });
    expect(steps(world.effects)[0]?.ops.filter((op) => op.op === "drop")).toEqual([{ op: "drop", drop: { slot: 0 } }]);
  });

  it("returns the memory of prefixes that nobody uses", () => {
    const world = begin({}, { prefixIdleMs: 10_000 });
    world.submit({ prompt: text(50), maxTokens: 2 });
    world.drain();
    expect(world.ring?.held).toBe(51);
    world.now += 10_001;
    world.input({ kind: "tick" });
    expect(world.ring?.held).toBe(0);
  });
});
