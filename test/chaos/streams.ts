/**
 * Clients that never stop asking while things break, and compare every answer with the undisturbed one. A client whose front door
 * itself was killed may lose its connection (nobody else holds it); everything else is a failure of the product.
 */
import { request } from "node:http";
import { type Answer, AnswerFailed, ask, differences, type Question, questionBody } from "../support/answer.js";
import type { ClusterNode } from "../support/cluster.js";
import type { Random } from "./random.js";

export interface Undisturbed { readonly question: Question; readonly answer: Answer }

export interface StreamFailure { readonly at: number; readonly node: string; readonly question: string; readonly what: string }

/** The longest gap of one stream that began with a fault: tokens that were on their way when it struck still arrive. */
interface Interruption { textAt: number; gapMs: number; endedMs: number }

/** One fault's view of the streams that were open when it struck; those that went down with their front door are taken out again. */
export interface Watch {
  readonly at: number;
  readonly open: Map<object, Interruption>;
  /** Questions of which nothing had been heard: their prompt is being computed, or they want the answer in one piece. */
  readonly unheard: Set<object>;
}

/** Every stream that was open goes on, and everybody else has heard something. */
export const goesOn = ({ at, open, unheard }: Watch): boolean => unheard.size === 0 && [...open.values()].every(({ textAt }) => textAt - at > strikesWithinMs);

/** How long after the fault each stream went on that had been interrupted by it, shortest first. */
export function interruptions({ open }: Watch): readonly number[] {
  return [...open.values()].filter(({ gapMs }) => gapMs > interruptionMs).map(({ endedMs }) => endedMs).sort((a, b) => a - b);
}

const retryMs = 200;
/** A gap begins with the fault, or soon after: what a dead machine had passed on still comes through. */
const strikesWithinMs = 1_000;
/** Shorter gaps are the pace of a busy machine. */
const interruptionMs = 500;
/** A front door that was killed may refuse connections this long. */
const comingBackMs = 20_000;

export class Streams {
  completed = 0;
  tokens = 0;
  /** Connections lost together with their front door. */
  cutOff = 0;
  /** Refused for the moment by a node that leaves or starts, and asked again. */
  refused = 0;
  longestGapMs = 0;
  readonly failures: StreamFailure[] = [];
  /** Told of every answer that came whole. */
  onAnswer: ((answer: Answer) => void) | undefined;
  readonly #nodes: readonly ClusterNode[];
  readonly #undisturbed: readonly Undisturbed[];
  readonly #model: string;
  readonly #random: Random;
  readonly #onLine: (line: string) => void;
  /** Front doors that were killed, with the time until which a broken connection is theirs. */
  readonly #struck = new Map<ClusterNode, number>();
  /** Nodes that are leaving or not back yet: nobody new is sent there. */
  readonly away = new Set<ClusterNode>();
  /** Streams that have produced text, and their front doors. */
  readonly #open = new Map<object, ClusterNode>();
  readonly #unheard = new Set<object>();
  readonly #watches = new Set<Watch>();
  #stopping = false;

  constructor(nodes: readonly ClusterNode[], undisturbed: readonly Undisturbed[], model: string, random: Random, onLine: (line: string) => void) {
    this.#onLine = onLine;
    this.#nodes = nodes;
    this.#undisturbed = undisturbed;
    this.#model = model;
    this.#random = random;
  }

  /** Starts `count` clients. @returns resolves when all have ended after `stop()`; the answers under way are waited for. */
  async run(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, async () => {
      while (!this.#stopping) await this.#one();
    }));
  }

  stop(): void { this.#stopping = true; }

  frontDoorStruck(node: ClusterNode): void { this.#struck.set(node, performance.now()); }

  /** Measures how long the streams that are open now wait for their next text. */
  watch(): Watch {
    const at = performance.now();
    const watch: Watch = { at, open: new Map([...this.#open.keys()].map((stream) => [stream, { textAt: at, gapMs: 0, endedMs: 0 }])), unheard: new Set(this.#unheard) };
    this.#watches.add(watch);
    return watch;
  }

  get open(): number { return this.#open.size; }
  /** Streams that a death of this node's front door would not end. */
  openBeside(node: ClusterNode): number { return [...this.#open.values()].filter((door) => door !== node).length; }

  async #one(): Promise<void> {
    const node = this.#random.pick(this.#nodes);
    const { question, answer: undisturbed } = this.#random.pick(this.#undisturbed);
    const streaming = this.#random.chance(0.85);
    if (!node.running || this.away.has(node)) { await new Promise((resolve) => { setTimeout(resolve, retryMs); }); return; }
    const stream = {};
    const startedAt = performance.now();
    this.#unheard.add(stream);
    try {
      const answer = streaming
        ? await ask(node.url, this.#model, question, { onText: () => this.#text(stream, node) })
        : await this.#askWhole(node, question);
      for (const watch of this.#watches) {
        const seen = watch.open.get(stream);
        if (seen) seen.textAt = Infinity;
      }
      this.completed += 1;
      this.tokens += answer.completionTokens;
      this.longestGapMs = Math.max(this.longestGapMs, answer.longestGapMs);
      this.onAnswer?.(answer);
      const different = differences(answer, undisturbed);
      if (different.length > 0) this.#failed(node, question, `wrong answer: ${different.join("; ")}`);
    } catch (error) {
      for (const watch of this.#watches) watch.open.delete(stream);
      await this.#broke(node, question, startedAt, error);
    } finally {
      this.#open.delete(stream);
      this.#heard(stream);
    }
  }

  async #broke(node: ClusterNode, question: Question, startedAt: number, error: unknown): Promise<void> {
    if (!(error instanceof AnswerFailed)) throw error;
    const struckAt = this.#struck.get(node);
    const lost = error.code === "connection" || error.code === "cut_off";
    if (lost && struckAt !== undefined && struckAt >= startedAt - retryMs) { this.cutOff += 1; return; }
    // Never accepted by a node that is down or on its way back, or refused by one that leaves: the client asks again elsewhere.
    const comingBack = this.away.has(node) || !node.running || (struckAt !== undefined && performance.now() - struckAt < comingBackMs);
    if (error.piecesSoFar === 0 && ((lost && comingBack) || (error.status === 503 && error.code === "draining"))) {
      this.refused += 1;
      await new Promise((resolve) => { setTimeout(resolve, retryMs); });
      return;
    }
    this.#failed(node, question, `${error.code || error.status} after ${error.piecesSoFar} pieces and ${Math.round(performance.now() - startedAt)} ms: ${error.message}`);
  }

  #heard(stream: object): void {
    if (!this.#unheard.delete(stream)) return;
    for (const { unheard } of this.#watches) unheard.delete(stream);
  }

  #text(stream: object, node: ClusterNode): void {
    this.#open.set(stream, node);
    this.#heard(stream);
    const now = performance.now();
    for (const { at, open } of this.#watches) {
      const seen = open.get(stream);
      if (!seen || seen.textAt - at > strikesWithinMs) continue;
      if (now - seen.textAt > seen.gapMs) { seen.gapMs = now - seen.textAt; seen.endedMs = now - at; }
      seen.textAt = now;
    }
  }

  async #askWhole(node: ClusterNode, question: Question): Promise<Answer> {
    const { status, text } = await post(`${node.url}/v1/chat/completions`, questionBody(question, this.#model, false));
    let body: {
      error?: { message: string; code: string };
      choices?: { message: { content: string }; finish_reason: string }[];
      usage?: { prompt_tokens: number; completion_tokens: number };
    };
    try { body = JSON.parse(text) as typeof body; } catch { throw new AnswerFailed("the body was cut off", 0, "cut_off", 0); }
    const [choice] = body.choices ?? [];
    if (status !== 200 || !choice || !body.usage) throw new AnswerFailed(body.error?.message ?? "no choice", status, body.error?.code ?? "", 0);
    return { text: choice.message.content, tokens: [], finishReason: choice.finish_reason, completionTokens: body.usage.completion_tokens, promptTokens: body.usage.prompt_tokens, longestGapMs: 0, totalMs: 0 };
  }

  #failed(node: ClusterNode, question: Question, what: string): void {
    this.#onLine(`FAILURE ${node.name} "${question.prompt.slice(-40)}": ${what}`);
    this.failures.push({ at: Date.now(), node: node.name, question: question.prompt.slice(-40), what });
  }
}

/** A whole answer may take minutes on a machine that does other things and recovers from one fault after another: fetch would give up after five. */
function post(url: string, body: unknown): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const broke = (code: "connection" | "cut_off", what: string) => () => { reject(new AnswerFailed(what, 0, code, 0)); };
    const sent = request(url, { method: "POST", headers: { "content-type": "application/json" }, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => { parts.push(part); });
      response.once("end", () => { resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }); });
      response.once("error", broke("cut_off", "the body was cut off"));
    });
    sent.once("error", (error) => { broke("connection", `the connection broke: ${String(error)}`)(); });
    sent.end(JSON.stringify(body));
  });
}
