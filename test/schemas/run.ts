/**
 * Structured output against the real model: random schemas, random seeds, temperature 1. Every document that was finished must
 * parse and be valid; so must those whose worker was killed while they were written, and those must be the undisturbed ones besides.
 */
import { loadavg } from "node:os";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { type Answer, AnswerFailed, differences, type Question } from "../support/answer.js";
import { chance } from "../support/chance.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { randomSchema } from "../support/random-schema.js";
import { until } from "../support/wait.js";

export interface SchemasOptions {
  readonly seed: number;
  /** Documents, each of a schema of its own. */
  readonly count: number;
  /** Of those, how many are asked for a second time with a worker killed in the middle of them. */
  readonly killed: number;
  /** Answers at once; as many share a kill. */
  readonly atOnce: number;
  readonly maxTokens: number;
  readonly nodes: number;
  readonly onLine: (line: string) => void;
}

export interface SchemasReport {
  readonly options: Omit<SchemasOptions, "onLine">;
  /** Documents that ended by themselves, and those that max_tokens cut. */
  readonly finished: number;
  readonly cut: number;
  /** Answers that were under way when their worker was killed. */
  readonly disturbed: number;
  readonly kills: number;
  readonly tokens: number;
  readonly failures: readonly { readonly case: number; readonly schema: object; readonly message: string }[];
  readonly wallMs: number;
  readonly loadAverage: number;
}

interface Case { readonly index: number; readonly schema: Record<string, unknown>; readonly question: Question; answer?: Answer }

const topics = ["a city", "a person", "a book", "a machine", "the weather", "an order of a shop", "a song", "nothing in particular"];
/** A kill strikes when the answers have this many pieces of text, on the average. */
const piecesBeforeKill = 6;

export async function runSchemas(options: SchemasOptions): Promise<SchemasReport> {
  const { onLine: _unreported, ...reported } = options;
  const startedAt = performance.now();
  const cases = makeCases(options);
  const failures: SchemasReport["failures"][number][] = [];
  const disturbed = new Set<number>();
  let kills = 0;
  const cluster = await startCluster({ nodes: options.nodes, settings: { threads: 1 }, onProgress: options.onLine });
  try {
    const door = cluster.nodes[0]!;
    await inLine(cases, options.atOnce, async (each) => {
      try { each.answer = await door.ask(each.question); } catch (error) { failures.push(failed(each, String(error))); return; }
      check(each, each.answer, failures);
      if ((each.index + 1) % 50 === 0) options.onLine(`${each.index + 1} documents, ${failures.length} failures`);
    });
    // Short ones would be over before a kill could strike.
    const long = cases.filter(({ answer }) => answer && answer.completionTokens > 3 * piecesBeforeKill);
    for (let from = 0; disturbed.size < options.killed && from < long.length; from += options.atOnce) {
      await askAndKill(cluster, door, kills % options.nodes, long.slice(from, from + options.atOnce), failures, disturbed);
      kills += 1;
      options.onLine(`${kills} kills, ${disturbed.size} answers in the middle of one, ${failures.length} failures`);
    }
  } finally { await cluster.stop(); }
  const answers = cases.flatMap(({ answer }) => answer ?? []);
  const finished = answers.filter(({ finishReason }) => finishReason === "stop").length;
  return {
    options: reported, finished, cut: answers.length - finished, disturbed: disturbed.size, kills, failures,
    tokens: answers.reduce((sum, { completionTokens }) => sum + completionTokens, 0), wallMs: performance.now() - startedAt, loadAverage: loadavg()[0]!,
  };
}

export function makeCases({ seed, count, maxTokens }: Pick<SchemasOptions, "seed" | "count" | "maxTokens">): Case[] {
  const random = chance(seed);
  return Array.from({ length: count }, (_, index) => {
    const schema = randomSchema(random, 3);
    const prompt = `Write a JSON document about ${topics[index % topics.length]!}.`;
    // The helper forbids the end of turn; under a grammar it is how a document ends.
    const extra = { logit_bias: {}, response_format: { type: "json_schema", json_schema: { name: "document", strict: true, schema } } };
    return { index, schema, question: { prompt, maxTokens, temperature: 1, seed: Math.floor(random() * 2 ** 32), extra } };
  });
}

const ajv = new Ajv2020({ strict: false });

function check(each: Case, answer: Answer, failures: SchemasReport["failures"][number][]): void {
  if (answer.finishReason === "length") return;
  const validate: ValidateFunction = ajv.compile(each.schema);
  let message = `finish reason ${answer.finishReason}`;
  try {
    if (answer.finishReason === "stop" && validate(JSON.parse(answer.text))) return;
    if (answer.finishReason === "stop") message = ajv.errorsText(validate.errors);
  } catch (error) { message = String(error); }
  failures.push(failed(each, `${message}: ${answer.text}`));
}

const failed = ({ index, schema }: Case, message: string): SchemasReport["failures"][number] => ({ case: index, schema, message });

/** The cases again, all at once; when they are under way a worker dies. What comes out must be what came out before. */
async function askAndKill(cluster: Cluster, door: ClusterNode, rank: number, cases: readonly Case[], failures: SchemasReport["failures"][number][], disturbed: Set<number>): Promise<void> {
  const pieces = new Map<number, number>();
  const open = new Set(cases.map(({ index }) => index));
  const asked = cases.map(async (each) => {
    try {
      const again = await door.ask(each.question, { onText: (count) => { pieces.set(each.index, count); } });
      for (const difference of differences(again, each.answer!)) failures.push(failed(each, `after a kill: ${difference}`));
      check(each, again, failures);
    } catch (error) {
      if (!(error instanceof AnswerFailed)) throw error;
      failures.push(failed(each, `after a kill: ${error.message}`));
    } finally { open.delete(each.index); }
  });
  await until("answers are under way", () => open.size === 0 || [...pieces.values()].reduce((sum, count) => sum + count, 0) >= piecesBeforeKill * cases.length, 120_000);
  const leader = await cluster.leader();
  const victim = rank === 0 ? leader : cluster.nodes.find((node) => node !== leader)!;
  for (const index of open) if ((pieces.get(index) ?? 0) > 0) disturbed.add(index);
  await victim.kill("worker");
  await Promise.all(asked);
  await cluster.ready();
}

async function inLine<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  await Promise.all(Array.from({ length: atOnce }, async () => { for (const item of waiting) await work(item); }));
}

export function schemasLines(report: SchemasReport): string[] {
  const { options, finished, cut, disturbed, kills, tokens, failures, wallMs, loadAverage } = report;
  return [
    `seed ${options.seed}: ${options.count} schemas, ${finished} documents finished and valid, ${cut} cut by max_tokens ${options.maxTokens}, ${tokens} tokens`,
    `${disturbed} of them again with a worker killed in the middle (${kills} kills)`,
    `${failures.length} failures in ${Math.round(wallMs / 1_000)} s, load ${loadAverage.toFixed(1)}`,
    ...failures.slice(0, 20).map(({ case: index, schema, message }) => `case ${index}: ${message}\n  ${JSON.stringify(schema)}`),
  ];
}
