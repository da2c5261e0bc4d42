/**
 * Four times more than a cluster can do, for minutes. First closed-loop clients, as many as keep the ring full, measure its peak; then requests
 * come on their own time, whether or not others were answered, and those who are refused with 429 wait for what Retry-After says and ask
 * once more, as far as they are patient. Afterwards the peak is measured again: what else the machine does in the meantime hits both.
 *
 * Goodput is tokens of answers that came whole. Every prompt is another one. Nobody breaks anything: a worker or an agent that was
 * restarted all the same was taken for dead because it was slow.
 */
import { spawn } from "node:child_process";
import { setMaxListeners } from "node:events";
import { loadavg } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { type Answer, AnswerFailed, ask } from "../support/answer.js";
import { type Cluster, startCluster } from "../support/cluster.js";
import { processUse } from "../soak/process-use.js";
import { Random } from "../chaos/random.js";

export interface OverloadOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly nodes: number;
  /** Offered load as a multiple of the peak. */
  readonly factor: number;
  /** Share of those refused that come back when told. */
  readonly patient: number;
  readonly queueMax: number;
  /** Processes beside the cluster that compute without end. */
  readonly burners: number;
  readonly signal?: AbortSignal;
  readonly onLine: (line: string) => void;
}

/** A request's life: milliseconds from its start. @property retryAfterSeconds refused. @property told it was told to come back then. */
export interface Sent { readonly atMs: number; readonly told: boolean; readonly totalMs: number; readonly firstMs: number; readonly tokens: number; readonly code: string; readonly retryAfterSeconds: number | undefined }

export interface Memory { readonly atMs: number; readonly agent: number; readonly worker: number }

export interface OverloadReport {
  readonly options: Omit<OverloadOptions, "onLine" | "signal">;
  /** Tokens a second, before and after. */
  readonly peaks: readonly [number, number];
  readonly requestsPerSecond: number;
  readonly goodput: number;
  readonly wallMs: number;
  readonly sent: readonly Sent[];
  readonly memory: readonly Memory[];
  /** Workers and agents that were started again. */
  readonly restarts: number;
  /** Of the machine, when the overload began, in its middle and at its end. */
  readonly loads: readonly number[];
}

const answerTokens = 24;
const closedClients = 12;
const peakSeconds = 60;
const lookEveryMs = 5_000;
const megabyte = 1 << 20;
const words = ["river", "stone", "lantern", "harbour", "violin", "meadow", "engine", "glacier", "orchard", "compass", "thunder", "ribbon"];

const delay = (ms: number, signal?: AbortSignal): Promise<void> => wait(ms, undefined, { signal }).catch(() => undefined);

export async function runOverload(options: OverloadOptions): Promise<OverloadReport> {
  const { onLine, signal: _, ...told } = options;
  const cluster = await startCluster({ nodes: options.nodes, settings: { threads: 1, "queue-max": options.queueMax }, onProgress: onLine });
  const burners = Array.from({ length: options.burners }, () => spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
  try {
    const agents = cluster.nodes.map((node) => node.processes().get("agent")?.pid);
    const clients = new Clients(cluster, (await cluster.nodes[0]!.status()).model.id, new Random(options.seed));
    await clients.closed(10);
    const before = await clients.closed(peakSeconds);
    onLine(`peak ${before.toFixed(1)} tokens/s with ${closedClients} clients, each with one answer of ${answerTokens} tokens at a time`);
    const requestsPerSecond = options.factor * before / answerTokens;
    onLine(`offering ${requestsPerSecond.toFixed(2)} requests/s for ${options.minutes} minutes`);
    const result = await clients.open(requestsPerSecond, options);
    const after = await clients.closed(peakSeconds);
    onLine(`peak afterwards ${after.toFixed(1)} tokens/s`);
    const restarts = await Promise.all(cluster.nodes.map(async (node, index) => {
      const own = (await node.status()).devices.find((device) => device.self);
      return (own?.worker?.restarts ?? 1) + (node.processes().get("agent")?.pid === agents[index] ? 0 : 1);
    }));
    return { options: told, peaks: [before, after], requestsPerSecond, restarts: restarts.reduce((sum, count) => sum + count, 0), ...result };
  } finally {
    for (const burner of burners) burner.kill("SIGKILL");
    await cluster.stop();
  }
}

class Clients {
  readonly #cluster: Cluster;
  readonly #model: string;
  readonly #random: Random;
  #asked = 0;

  constructor(cluster: Cluster, model: string, random: Random) {
    this.#cluster = cluster;
    this.#model = model;
    this.#random = random;
  }

  /** @returns tokens of whole answers a second. */
  async closed(seconds: number): Promise<number> {
    const startedAt = performance.now();
    let tokens = 0;
    await Promise.all(Array.from({ length: closedClients }, async () => {
      while (performance.now() - startedAt < seconds * 1_000) {
        const { completionTokens } = await this.#ask(this.#prompt());
        tokens += completionTokens;
      }
    }));
    return tokens / ((performance.now() - startedAt) / 1_000);
  }

  async open(requestsPerSecond: number, { minutes, patient, signal }: OverloadOptions): Promise<Pick<OverloadReport, "goodput" | "wallMs" | "sent" | "memory" | "loads">> {
    const sent: Sent[] = [];
    const memory: Memory[] = [];
    const under = new Set<Promise<void>>();
    const startedAt = performance.now();
    const endMs = minutes * 60_000;
    const now = (): number => performance.now() - startedAt;
    const loads = [loadavg()[0] ?? 0];
    const look = setInterval(() => { memory.push({ atMs: now(), ...this.#memory() }); }, lookEveryMs);
    const one = async (prompt: string, told: boolean): Promise<void> => {
      const outcome = await this.#outcome(prompt, now, told);
      sent.push(outcome);
      const { retryAfterSeconds } = outcome;
      if (retryAfterSeconds === undefined || told || !this.#random.chance(patient)) return;
      // Who would have to come back after the end is not asked whether it was true.
      if (now() + retryAfterSeconds * 1_000 > endMs) return;
      await delay(retryAfterSeconds * 1_000, signal);
      if (signal?.aborted !== true) await one(prompt, true);
    };
    // Everybody who waits to come back.
    if (signal) setMaxListeners(0, signal);
    for (let nextMs = 0; nextMs < endMs && signal?.aborted !== true; nextMs += this.#random.between(0, 2_000 / requestsPerSecond)) {
      await delay(Math.max(0, nextMs - now()), signal);
      const running = one(this.#prompt(), false).finally(() => under.delete(running));
      under.add(running);
      if (loads.length === 1 && nextMs > endMs / 2) loads.push(loadavg()[0] ?? 0);
    }
    const wallMs = now();
    loads.push(loadavg()[0] ?? 0);
    const goodTokens = sent.filter(({ code }) => code === "ok").reduce((sum, { tokens }) => sum + tokens, 0);
    // Answers that are under way when the load ends were computed under it, but not all of them: not counted.
    await Promise.all(under);
    clearInterval(look);
    return { goodput: goodTokens / (wallMs / 1_000), wallMs, sent, memory, loads };
  }

  async #outcome(prompt: string, now: () => number, told: boolean): Promise<Sent> {
    const atMs = now();
    let firstMs = 0;
    try {
      const { completionTokens } = await this.#ask(prompt, () => { firstMs ||= now() - atMs; });
      return { atMs, told, totalMs: now() - atMs, firstMs, tokens: completionTokens, code: "ok", retryAfterSeconds: undefined };
    } catch (error) {
      if (!(error instanceof AnswerFailed)) throw error;
      return { atMs, told, totalMs: now() - atMs, firstMs, tokens: 0, code: error.code || String(error.status), retryAfterSeconds: error.retryAfterSeconds };
    }
  }

  #ask(prompt: string, onText: () => void = () => undefined): Promise<Answer> {
    return ask(this.#random.pick(this.#cluster.nodes).url, this.#model, { prompt, maxTokens: answerTokens }, { onText });
  }

  #prompt(): string { return `${(this.#asked += 1)}: tell me of a ${Array.from({ length: 6 }, () => this.#random.pick(words)).join(", a ")}.`; }

  /** The largest of each kind, in MB. */
  #memory(): { agent: number; worker: number } {
    const largest = { agent: 0, worker: 0 };
    for (const node of this.#cluster.nodes) {
      const processes = node.processes();
      for (const kind of ["agent", "worker"] as const) largest[kind] = Math.max(largest[kind], (processUse(processes.get(kind)?.pid ?? 0)?.rssBytes ?? 0) / megabyte);
    }
    return largest;
  }
}
