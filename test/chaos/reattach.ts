/**
 * Kills the node whose front door streams, in the middle of its streams, over and over, while their clients do what docs/API.md says.
 * Every answer must be the undisturbed one, event for event. Real nodes; any of them may be hit, rank 0 included.
 */
import { randomUUID } from "node:crypto";
import { loadavg } from "node:os";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { type ReattachedStream, type SseEvent, reattachingStream } from "../support/reattaching-client.js";
import { Random } from "./random.js";

export interface ReattachOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly trials: number;
  /** Streams that each kill hits. */
  readonly streams: number;
  /** No further trial begins after that. */
  readonly minutesMax: number;
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  readonly onLine: (line: string) => void;
}

export interface ReattachTrial {
  readonly node: string;
  readonly leader: boolean;
  readonly question: string;
  /** Events that had arrived when the node was killed, and of the whole answer. */
  readonly killedAt: number;
  readonly events: number;
  /** The connection was over before the kill took effect: no trial. */
  readonly early: boolean;
  readonly connections: number;
  readonly gapMs: number;
  /** Empty when the answer is the undisturbed one. */
  readonly differences: readonly string[];
}

export interface ReattachReport {
  readonly options: Omit<ReattachOptions, "onLine">;
  readonly trials: readonly ReattachTrial[];
  readonly kills: number;
  readonly wallMs: number;
  readonly loadAverage: number;
}

interface Request { readonly name: string; readonly path: string; readonly body: Readonly<Record<string, unknown>> }

const ask = (content: string) => [{ role: "user", content }];
/** The model's end of turn: forbidden, so that an answer is long enough to be broken off. */
const long = { logit_bias: { 2: -100 } };

/** All four streaming endpoints, greedy or with a seed: what is sampled without one has another seed under every key, and no undisturbed run to be compared with. */
export const requests: readonly Request[] = [
  { name: "chat", path: "/v1/chat/completions", body: { messages: ask("Tell me a long story about a fox."), max_tokens: 45, stream: true, temperature: 0, stream_options: { include_usage: true }, ...long } },
  { name: "chat, sampled", path: "/v1/chat/completions", body: { messages: ask("Write a poem about the night sky."), max_tokens: 40, stream: true, temperature: 1, seed: 6, frequency_penalty: 0.3, stream_options: { include_usage: true }, ...long } },
  { name: "chat, two choices with logprobs", path: "/v1/chat/completions", body: { messages: ask("List facts about the sea."), max_tokens: 30, n: 2, seed: 5, logprobs: true, top_logprobs: 2, temperature: 0.9, stream: true, ...long } },
  { name: "completions", path: "/v1/completions", body: { prompt: "Once upon a time there was a", max_tokens: 45, stream: true, temperature: 0.7, seed: 4, ...long } },
  { name: "responses", path: "/v1/responses", body: { input: "Explain how a steam engine works, step by step.", max_output_tokens: 40, stream: true, temperature: 0 } },
  { name: "messages", path: "/v1/messages", body: { messages: ask("Explain what a glacier is, at length."), max_tokens: 40, stream: true, temperature: 0 } },
];

/** What two answers of one request may differ in: their names and when they were begun; and what was in the cache. */
function comparable(events: readonly SseEvent[]): string[] {
  return events.map(({ data }) => data
    .replaceAll(/"((?:chatcmpl|cmpl|resp|msg|rs|fc|call)[-_])[0-9a-f]{24}"/gu, '"$1"')
    .replaceAll(/"(created|created_at|completed_at|cached_tokens|cache_read_input_tokens|input_tokens)":\d+/gu, '"$1":0'));
}

function differences({ events }: ReattachedStream, undisturbed: readonly string[]): string[] {
  const found: string[] = [];
  const wrong = events.findIndex(({ id }, index) => Number(id.split(".")[0]) !== index + 1);
  if (wrong >= 0) found.push(`event ${wrong + 1} came with the id ${events[wrong]?.id}: one was lost or repeated`);
  const got = comparable(events);
  if (got.length !== undisturbed.length) found.push(`${got.length} events, undisturbed ${undisturbed.length}`);
  const at = got.findIndex((data, index) => data !== undisturbed[index]);
  if (at >= 0) found.push(`event ${at + 1} is ${got[at]}, undisturbed ${undisturbed[at]}`);
  const names = new Set(events.flatMap(({ data }) => data.match(/(?:chatcmpl|cmpl|resp)[-_][0-9a-f]{24}/gu) ?? []));
  if (names.size > 1) found.push(`the answer changed its name: ${[...names].join(", ")}`);
  return found;
}

export async function runReattach(options: ReattachOptions): Promise<ReattachReport> {
  const { onLine, ...told } = options;
  const random = new Random(options.seed);
  const cluster = await startCluster({ nodes: options.nodes, settings: { threads: 1, ...options.settings }, onProgress: onLine });
  try {
    const model = (await cluster.nodes[0]!.status()).model.id;
    const known = new Map<Request, readonly string[]>();
    /** Asked for once, when the request's turn comes first. */
    const undisturbed = async (request: Request): Promise<readonly string[]> => {
      const events = known.get(request) ?? comparable((await stream(cluster.nodes, request, model)).events);
      known.set(request, events);
      return events;
    };
    const trials: ReattachTrial[] = [];
    let kills = 0;
    const startedAt = performance.now();
    for (;;) {
      const struck = random.pick(cluster.nodes.filter(({ running }) => running));
      const leader = (await cluster.leader()) === struck;
      const chosen = [];
      for (const request of Array.from({ length: options.streams }, () => random.pick(requests))) chosen.push({ request, undisturbed: await undisturbed(request) });
      const killAt = random.between(0.05, 0.6);
      kills += 1;
      const done = await strike(cluster, struck, chosen, killAt, model);
      for (const trial of done) trials.push({ node: struck.name, leader, ...trial });
      onLine(`kill ${kills}: ${struck.name}${leader ? ", rank 0" : ""}: ${done.map(({ question, killedAt, events, gapMs, differences: wrong, early }) => `${question} at ${killedAt} of ${events}, ${early ? "too early an end" : `next event after ${(gapMs / 1_000).toFixed(2)} s`}${wrong.length > 0 ? ` WRONG: ${wrong.join("; ")}` : ""}`).join(" | ")}`);
      if (trials.filter(({ early }) => !early).length >= options.trials || performance.now() - startedAt >= options.minutesMax * 60_000) break;
      struck.start();
      await struck.listening();
    }
    return { options: told, trials, kills, wallMs: performance.now() - startedAt, loadAverage: loadavg()[0]! };
  } finally { await cluster.stop(); }
}

/** Kills the node when the first of the streams has come so far. */
async function strike(cluster: Cluster, struck: ClusterNode, streams: readonly { readonly request: Request; readonly undisturbed: readonly string[] }[], killAt: number, model: string): Promise<Omit<ReattachTrial, "node" | "leader">[]> {
  const others = cluster.nodes.filter((node) => node !== struck);
  const counts = streams.map(() => 0);
  let killed: Promise<void> | undefined;
  let atKill: number[] = [];
  const kill = (): void => {
    killed ??= (async () => {
      atKill = [...counts];
      await struck.kill("node");
    })();
  };
  const outcomes = await Promise.all(streams.map(async ({ request, undisturbed }, index) => {
    const result = await stream([struck, ...others], request, model, (count) => {
      counts[index] = count;
      if (count >= Math.max(1, Math.floor(undisturbed.length * killAt))) kill();
    });
    return { result, request, undisturbed };
  }));
  kill();
  await killed;
  return outcomes.map(({ result, request, undisturbed }, index) => ({
    question: request.name, killedAt: atKill[index]!, events: result.events.length,
    early: result.connections === 1, connections: result.connections, gapMs: Math.max(0, ...result.gapsMs), differences: differences(result, undisturbed),
  }));
}

function stream(nodes: readonly ClusterNode[], { path, body }: Request, model: string, onEvent?: (count: number) => void): Promise<ReattachedStream> {
  return reattachingStream({ urls: nodes.map(({ url }) => url), path, body: { model, ...body }, key: randomUUID(), ...(onEvent ? { onEvent } : {}) });
}

const quantile = (sorted: readonly number[], q: number): string => `${((sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0) / 1_000).toFixed(2)} s`;

export function reattachLines({ options, trials, kills, wallMs, loadAverage }: ReattachReport): string[] {
  const counted = trials.filter(({ early }) => !early);
  const wrong = trials.filter(({ differences: found }) => found.length > 0);
  const row = (name: string, of: readonly ReattachTrial[]) => {
    const gaps = of.map(({ gapMs }) => gapMs).sort((a, b) => a - b);
    return `${name.padEnd(32)} ${String(of.length).padStart(5)}  ${quantile(gaps, 0.5).padStart(9)} ${quantile(gaps, 0.95).padStart(9)} ${quantile(gaps, 1).padStart(9)}`;
  };
  return [
    `reattach: seed ${options.seed}, ${options.nodes} nodes, ${kills} kills of a front door's node with ${options.streams} streams each, ${(wallMs / 60_000).toFixed(1)} min, load average at the end ${loadAverage.toFixed(1)}`,
    "from the break of the connection to the next new event",
    `${"".padEnd(32)} count     median       p95     worst`,
    ...requests.map(({ name }) => row(name, counted.filter(({ question }) => question === name))),
    row("the node was rank 0", counted.filter(({ leader }) => leader)),
    row("it was another rank", counted.filter(({ leader }) => !leader)),
    row("all", counted),
    `${counted.length} streams broken off and continued (${trials.length - counted.length} more were over before the kill), ${counted.reduce((sum, { events }) => sum + events, 0)} events, each compared with the undisturbed answer's`,
    `${wrong.length} failures`,
    ...wrong.map(({ question, node, killedAt, differences: found }) => `  ${question} at ${node}, killed at event ${killedAt}: ${found.join("; ")}`),
  ];
}
