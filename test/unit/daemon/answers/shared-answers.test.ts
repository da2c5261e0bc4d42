import { afterEach, describe, expect, it } from "vitest";
import { MinidError } from "../../../../src/core/errors.js";
import { nodeId } from "../../../../src/core/ids.js";
import { AnswerLedger } from "../../../../src/daemon/answers/ledger.js";
import type { AnswerUpdate } from "../../../../src/daemon/answers/record.js";
import type { SharedAnswers, Turn } from "../../../../src/daemon/answers/shared-answers.js";
import type { GenerateEvent, GenerateRequest, Generator } from "../../../../src/daemon/inference/generate.js";
import { until } from "../../../support/wait.js";
import { AnswersNet } from "./net.js";

const nets: AnswersNet[] = [];
afterEach(() => { for (const net of nets.splice(0)) net.stop(); });
function network(...args: ConstructorParameters<typeof AnswersNet>): AnswersNet {
  const net = new AnswersNet(...args);
  nets.push(net);
  return net;
}

const hex = (digit: string) => digit.repeat(64);
const question = { key: hex("a"), digest: hex("d") };
const head = { created: 1_700_000_000, fingerprint: "fp" };
const request: GenerateRequest = {
  requestId: "r", modelId: "m", prompt: [1], emitted: [], maxTokens: 10, stopTokens: [],
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map(), seed: 1 },
};

/** Tokens 100, 101, …, in pairs, from wherever the caller is. Remembers from where it was asked, and who asks now. */
class Counting implements Generator {
  readonly from: number[] = [];
  readonly claims: (string | undefined)[] = [];
  running = 0;
  runningMost = 0;
  readonly #pauseAt: number;
  #goOn: () => void = () => undefined;
  constructor(pauseAt = Number.POSITIVE_INFINITY) { this.#pauseAt = pauseAt; }

  goOn(): void { this.#goOn(); }

  async *generate({ emitted, maxTokens, claim }: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    this.from.push(emitted.length);
    this.claims.push(claim && `${claim.counter}@${claim.nodeId[0]}`);
    this.runningMost = Math.max(this.runningMost, ++this.running);
    try {
      yield { kind: "admitted", cachedPromptTokens: 7 + this.from.length };
      for (let index = emitted.length; index < maxTokens; index += 2) {
        if (index === this.#pauseAt) await new Promise<void>((resolve, reject) => { this.#goOn = resolve; signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }); });
        yield { kind: "tokens", tokens: [index, index + 1].filter((at) => at < maxTokens).map((at) => ({ token: 100 + at, index: at })) };
      }
      yield { kind: "finished", reason: "length", cachedPromptTokens: 7 + this.from.length };
    } finally { this.running -= 1; }
  }
}

/** Reads an answer as a front door does. */
function read(turn: Turn, generator: Generator): { readonly events: GenerateEvent[]; readonly over: Promise<unknown> } {
  const events: GenerateEvent[] = [];
  const over = (async () => {
    try {
      for await (const event of turn.generator(generator).generate(request, turn.signal)) {
        if (turn.signal.aborted) throw turn.signal.reason as Error;
        events.push(event);
      }
      return undefined;
    } catch (error) { return error; } finally { turn.end(); }
  })();
  return { events, over };
}

async function events({ events: got, over }: ReturnType<typeof read>): Promise<readonly GenerateEvent[]> {
  await over;
  return got;
}

async function begun(node: SharedAnswers): Promise<Turn> {
  const turn = await node.claim(question);
  turn.begin(turn.known ?? head);
  return turn;
}

const tokens = (events: readonly GenerateEvent[]) => events.flatMap((event) => (event.kind === "tokens" ? event.tokens.map(({ token }) => token) : []));
const whole = Array.from({ length: 10 }, (_, index) => 100 + index);
const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  const error = await promise.catch((thrown: unknown) => thrown);
  return error instanceof MinidError ? error.code : String(error);
};

describe("an answer with an idempotency key", () => {
  it("goes on at another node after its own died, from the tokens that were kept, with what it said of itself", async () => {
    const net = network(3);
    const generator = new Counting(6);
    const first = read(await begun(net.nodes[0]!), generator);
    await until("six tokens are kept elsewhere", () => net.keeps.reduce((sum, { tokens: kept }) => sum + kept, 0) >= 12);
    net.kill(0);
    const again = new Counting();
    const turn = await net.nodes[2]!.claim(question);
    expect(turn.known).toEqual(head);
    turn.begin(head);
    const second = read(turn, again);
    expect(await second.over).toBeUndefined();
    expect(again.from).toEqual([6]);
    expect(tokens(second.events)).toEqual(whole);
    // What was cached at first, not what was cached when it went on.
    expect(second.events[0]).toEqual({ kind: "admitted", cachedPromptTokens: 8 });
    expect(second.events.at(-1)).toEqual({ kind: "finished", reason: "length", cachedPromptTokens: 8 });
    expect(tokens(first.events)).toEqual(whole.slice(0, 6));
  });

  it("gives nothing before another member has its record", async () => {
    const net = network(2);
    const turn = await net.nodes[0]!.claim(question);
    turn.begin(head);
    const { events, over } = read(turn, new Counting());
    expect(events).toEqual([]);
    await over;
    net.kill(0);
    expect((await net.nodes[1]!.claim(question)).known).toEqual(head);
  });

  it("is computed again from the first token when nobody kept any", async () => {
    const net = network(2);
    net.cut(0, 1);
    const first = read(await begun(net.nodes[0]!), new Counting());
    await first.over;
    const generator = new Counting();
    const turn = await net.nodes[1]!.claim(question);
    expect(turn.known).toBeUndefined();
    turn.begin(head);
    const second = read(turn, generator);
    await second.over;
    expect(generator.from).toEqual([0]);
    expect(second.events).toEqual(first.events);
  });

  it("is replayed without computing anything once it is complete", async () => {
    const net = network(2);
    await read(await begun(net.nodes[0]!), new Counting()).over;
    const generator = new Counting();
    const again = read(await begun(net.nodes[0]!), generator);
    await again.over;
    expect(tokens(again.events)).toEqual(whole);
    expect(generator.from).toEqual([]);
  });

  it.each([[0, "at the same node"], [1, "at another node"]])("is taken over by a new connection (%i: %s), and never generated twice at once", async (node) => {
    const net = network(2);
    const generator = new Counting(4);
    const first = read(await begun(net.nodes[0]!), generator);
    await until("it generates", () => tokens(first.events).length === 4);
    const second = read(await begun(net.nodes[node]!), generator);
    expect(await codeOf(first.over.then((error) => { throw error; }))).toBe("superseded");
    await until("the second one generates", () => generator.from.length === 2);
    expect(generator.runningMost).toBe(1);
    expect(generator.claims).toEqual(["1@1", `2@${node + 1}`]);
    const third = await begun(net.nodes[0]!);
    expect(await codeOf(second.over.then((error) => { throw error; }))).toBe("superseded");
    third.end();
  });

  it("has one connection when several ask at the same moment", async () => {
    const net = network(4);
    const outcomes = await Promise.all(net.nodes.flatMap((node) => [node.claim(question), node.claim(question)]).map(async (claiming) => {
      try { return await claiming; } catch (error) { return error; }
    }));
    const turns = outcomes.filter((outcome): outcome is Turn => !(outcome instanceof Error) && !(outcome as Turn).signal.aborted);
    expect(turns).toHaveLength(1);
    for (const outcome of outcomes) if (outcome instanceof Error) expect((outcome as MinidError).code).toBe("superseded");
  });

  it("may run on both sides of a partition, with one set of names; when they meet again the lower claim stops", async () => {
    const net = network(2);
    net.cut(0, 1);
    const generators = [new Counting(4), new Counting(4)];
    const [a, b] = await Promise.all([0, 1].map(async (node) => read(await begun(net.nodes[node]!), generators[node]!)));
    await until("both generate", () => tokens(a!.events).length === 4 && tokens(b!.events).length === 4);
    net.heal();
    const stopped = await Promise.race([a!.over.then(() => "a"), b!.over.then(() => "b")]);
    // Equal counters: the node ids decide.
    expect(stopped).toBe("a");
    expect(generators[1]!.running).toBe(1);
    await begun(net.nodes[0]!);
    expect(await codeOf(b!.over.then((error) => { throw error; }))).toBe("superseded");
  });

  it("belongs to one request: the same key for another is refused at every node", async () => {
    const net = network(3);
    await read(await begun(net.nodes[0]!), new Counting()).over;
    for (const node of net.nodes) expect(await codeOf(node.claim({ ...question, digest: hex("e") }))).toBe("idempotency_key_reused");
    expect((await net.nodes[1]!.claim(question)).known).toEqual(head);
  });

  it("leaves its key free when the request was refused before it began", async () => {
    const net = network(2);
    (await net.nodes[0]!.claim(question)).end();
    for (const node of net.nodes) (await node.claim({ ...question, digest: hex("e") })).end();
  });

  it("brings a member that has lost the tokens up to date again", async () => {
    const net = network(2);
    const turn = await begun(net.nodes[0]!);
    const generator = new Counting(4);
    const reading = read(turn, generator);
    const kept = () => net.keeps.reduce((sum, { tokens: count }) => sum + count, 0);
    await until("four tokens are kept", () => kept() === 4);
    net.restart(1);
    generator.goOn();
    await reading.over;
    await until("all ten are kept by the one that is back", () => kept() === 4 + 6 + 10);
    net.kill(0);
    const again = new Counting();
    expect(tokens(await events(read(await begun(net.nodes[1]!), again)))).toEqual(whole);
    expect(again.from).toEqual([]);
  });
});

describe("the ledger of a node", () => {
  const limits = { recordsMax: 3, bytesMax: 1 << 20, keepMs: 1_000 };
  const claim = (counter: number) => ({ counter, nodeId: nodeId("1".repeat(32)) });
  const update = (key: string, count: number, from = 0, finished?: "stop"): AnswerUpdate => ({
    key, digest: hex("d"), claim: claim(1), head,
    logs: [{ requestId: "r", tokens: Array.from({ length: count }, (_, at) => ({ token: at, index: from + at })), cachedPromptTokens: undefined, finished }],
  });

  it("forgets what nobody has touched for long, and the oldest beyond its number, but not what it holds", () => {
    const ledger = new AnswerLedger(limits);
    for (const [now, key] of ["a", "b", "c"].entries()) ledger.keep(update(hex(key), 1), now);
    ledger.hold(hex("b"), true, 10);
    ledger.keep(update(hex("e"), 1), 11);
    expect(["a", "b", "c", "e"].map((key) => ledger.find(hex(key), 12) !== undefined)).toEqual([false, true, true, true]);
    expect(["b", "c", "e"].map((key) => ledger.find(hex(key), 5_000) !== undefined)).toEqual([true, false, false]);
    ledger.hold(hex("b"), false, 5_000);
    expect(ledger.find(hex("b"), 7_000)).toBeUndefined();
    expect(ledger.bytes).toBe(0);
  });

  it("bounds the bytes of all and of each", () => {
    const ledger = new AnswerLedger({ ...limits, bytesMax: 30_000 });
    ledger.keep(update(hex("a"), 400), 0);
    ledger.keep(update(hex("b"), 400), 1);
    expect(ledger.size).toBe(1);
    const long = new AnswerLedger({ ...limits, bytesMax: 64 << 20 });
    long.keep(update(hex("a"), 200_000, 0, "stop"), 0);
    expect(long.bytes).toBeLessThan(5 << 20);
    // Cut off: it does not pretend to know the end.
    expect(long.find(hex("a"), 0)?.logs.get("r")?.finished).toBeUndefined();
  });

  it("refuses lower claims and tokens that do not follow", () => {
    const ledger = new AnswerLedger(limits);
    expect(ledger.keep(update(hex("a"), 3), 0)).toBe("kept");
    expect(ledger.keep(update(hex("a"), 3, 5), 0)).toBe("gap");
    expect(ledger.keep(update(hex("a"), 3, 2), 0)).toBe("kept");
    expect(ledger.find(hex("a"), 0)?.logs.get("r")?.tokens.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    expect(ledger.claim({ key: hex("a"), digest: hex("d"), claim: claim(1) }, 0)).toEqual({ kind: "behind", highest: claim(1) });
    expect(ledger.claim({ key: hex("a"), digest: hex("d"), claim: claim(2) }, 0)).toMatchObject({ kind: "granted", before: claim(1) });
    expect(ledger.keep(update(hex("a"), 1), 0)).toBe("behind");
  });
});
