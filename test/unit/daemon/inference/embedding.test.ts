/** Sequences that are embedded, among those that are answered. */
import { describe, expect, it } from "vitest";
import { embeddingOf } from "./ring-model.js";
import { SchedulerWorld, type defaultPlan } from "./scheduler-world.js";

const text = (length: number, salt = 0): number[] => Array.from({ length }, (_, at) => (at * 7 + salt * 13 + (at >> 3)) % 40);

function begin(plan: Partial<typeof defaultPlan> = {}): SchedulerWorld {
  const world = new SchedulerWorld();
  world.ready(plan);
  world.drain();
  return world;
}

describe.each(["last", "mean"] as const)("an embedding of the %s", (pooling) => {
  it.each([1, 2, 3, 31, 33, 100, 512])("is made of a prompt of %i tokens, the whole context included, and emits no token", (length) => {
    const world = begin();
    const client = world.submit({ prompt: text(length), maxTokens: 1, pooling });
    world.drain();
    expect(client).toMatchObject({ outcome: "stop", emitted: [], embedding: embeddingOf(text(length), pooling) });
    expect(world.scheduler.snapshot()).toMatchObject({ running: 0, queued: 0, kvTokens: { reserved: 0, cached: 0 } });
  });

  it("is computed among answers and leaves them as they are", () => {
    const world = begin({ worldSize: 2 });
    const answers = [1, 2, 3].map((salt) => world.submit({ prompt: text(20, salt), maxTokens: 12, seed: salt }));
    const embedded = [4, 5, 6, 7].map((salt) => world.submit({ prompt: text(60 + salt, salt), maxTokens: 1, pooling }));
    world.drain();
    for (const client of answers) expect(client.emitted).toEqual(world.expected(client));
    for (const client of embedded) expect(client.embedding).toEqual(embeddingOf(client.wish.prompt, pooling));
  });

  it("takes no cached prefix, and costs a conversation none of its own", () => {
    const world = begin();
    const first = world.submit({ prompt: text(64), maxTokens: 4 });
    world.drain();
    const embedded = world.submit({ prompt: text(64), maxTokens: 1, pooling });
    world.drain();
    const again = world.submit({ prompt: text(64), maxTokens: 4 });
    world.drain();
    expect(embedded.embedding).toEqual(embeddingOf(text(64), pooling));
    expect([first.cachedPromptTokens, embedded.cachedPromptTokens, again.cachedPromptTokens]).toEqual([0, 0, 62]);
  });

  it("is begun again when the ring breaks in the middle of it", () => {
    const world = begin({ prefillChunk: 32 });
    const client = world.submit({ prompt: text(200), maxTokens: 1, pooling });
    world.turn();
    world.turn();
    world.lose();
    world.ready();
    world.drain();
    expect(client).toMatchObject({ outcome: "stop", resumes: 1, embedding: embeddingOf(text(200), pooling) });
  });
});

it("a worker that knows no embeddings is told apart from one that failed", () => {
  const world = begin();
  world.submit({ prompt: text(4), maxTokens: 1, pooling: "mean" });
  const { stepSeq } = world.ring!.receive();
  const effects = world.input({ kind: "stepResult", stepSeq, sampled: [{ slot: 0, token: 5, logprob: 0, top: [], embedding: [] }] });
  expect(effects).toMatchObject([{ kind: "fail", code: "engine_failed" }, { kind: "sendStep" }]);
});
