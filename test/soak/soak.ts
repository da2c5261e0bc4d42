/**
 * The soak: nodes that answer for a long time while faults strike at a steady pace, watched for what grows. The first node lives through it
 * whole (its agent is only frozen now and then, so that leadership moves), the second one's agent does while its workers die, and the
 * others are struck by everything. Every answer is compared with the undisturbed one, token by token.
 */
import { type FaultName, faultNames } from "../chaos/faults.js";
import { questions } from "../chaos/questions.js";
import { type ChaosReport, runChaos } from "../chaos/run.js";
import type { Streams } from "../chaos/streams.js";
import type { Cluster } from "../support/cluster.js";
import { until } from "../support/wait.js";
import { Samples, type Series } from "./samples.js";
import { type Row, rowsOf } from "./verdicts.js";

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly nodes: number;
  readonly streams: number;
  readonly faultsEverySeconds: number;
  readonly sampleEverySeconds: number;
  readonly signal?: AbortSignal;
  readonly onLine: (line: string) => void;
}

export interface SoakReport { readonly chaos: ChaosReport; readonly series: readonly Series[]; readonly rows: readonly Row[]; readonly failures: readonly string[] }

const agentStays = new Set<FaultName>(["agent-pause", "agent-stop"]);
const workerDies = new Set<FaultName>(["worker-kill", "worker-abort", "worker-stop", "worker-pause"]);
/** The beat varies by so much, so that faults meet every phase of an answer. */
const jitter = 0.2;
const restTimeoutMs = 60_000;

export function mayStrike(fault: FaultName, node: number): boolean {
  if (node === 0) return agentStays.has(fault);
  if (node === 1) return agentStays.has(fault) || workerDies.has(fault);
  return true;
}

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { seed, nodes, streams, onLine, signal } = options;
  const beatMs = options.faultsEverySeconds * 1_000;
  let samples: Samples | undefined;
  const left: string[] = [];
  const chaos = await runChaos({
    seed, nodes, streams, minutesMax: options.minutes, faultsMax: Number.MAX_SAFE_INTEGER, kinds: faultNames, steady: true, mayStrike,
    pauseMs: [beatMs * (1 - jitter), beatMs * (1 + jitter)], settings: { threads: 1 }, ...(signal ? { signal } : {}), onLine,
    questions: questions.map((question) => ({ ...question, extra: { ...question.extra, logprobs: true } })),
    observe: (cluster: Cluster, asked: Streams) => {
      const watching = new Samples(cluster);
      samples = watching;
      asked.onAnswer = (answer) => { watching.answered(answer); };
      const end = watching.every(options.sampleEverySeconds * 1_000);
      return async () => {
        await end();
        left.push(...await leftBehind(cluster));
      };
    },
  });
  const series = samples?.series ?? [];
  const rows = rowsOf(series);
  const failures = [
    ...chaos.failures.map(({ node, question, what }) => `${node} "${question}": ${what}`),
    ...rows.flatMap(({ node, kind, measure, trend }) => (trend?.grows ? [`${measure} of ${node}'s ${kind} grows by ${(trend.sharePerHour * 100).toFixed(0)} % an hour`] : [])),
    ...left,
  ];
  return { chaos, series, rows, failures };
}

/** When nobody asks any more, the ring must hold nothing for anybody. */
async function leftBehind(cluster: Cluster): Promise<string[]> {
  const leader = await cluster.leader();
  try {
    await until("an idle ring", async () => {
      const inference = (await leader.status()).inference;
      return inference !== null && inference.running === 0 && inference.queued === 0 && inference.slots.active === 0 && inference.kvTokens.reserved === 0;
    }, restTimeoutMs);
    return [];
  } catch {
    return [`the ring still holds ${JSON.stringify((await leader.status()).inference)} after the last answer`];
  }
}
