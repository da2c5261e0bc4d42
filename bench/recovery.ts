/**
 * `npm run bench:recovery -- [--nodes 2] [--kills 6] [--root CHECKOUT]`: kill -9 of a worker in the middle of one answer, its standby at hand,
 * until the next token; with the parts that the nodes report (docs/METRICS.md, `minid_recovery_seconds`). All nodes share this machine: with
 * `--root` the same for another checkout, to compare.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Cluster, startCluster } from "../test/support/cluster.js";
import { median } from "../test/soak/slope.js";
import { until } from "../test/support/wait.js";

/** A standby settles for ten seconds, and loads. */
const standbyMs = 14_000;
const piecesBeforeKill = 40;
/** What was on its way when the worker died still arrives. */
const onItsWayMs = 120;
const prompt = "river stone lantern ".repeat(60);

const { values } = parseArgs({ options: { nodes: { type: "string", default: "2" }, kills: { type: "string", default: "6" }, root: { type: "string" } } });
const nodes = Number(values.nodes);

/** Seconds by `cause/phase`, over all nodes. */
async function phaseSums(cluster: Cluster): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const { url } of cluster.nodes) {
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const [, cause = "", phase = "", seconds] of text.matchAll(/^minid_recovery_seconds_sum\{cause="([^"]*)",phase="([^"]*)"[^}]*\} (\S+)/gmu)) {
      const name = `${cause}/${phase}`;
      sums.set(name, (sums.get(name) ?? 0) + Number(seconds));
    }
  }
  return sums;
}

const cluster = await startCluster({ nodes, settings: { threads: 1 }, ...(values.root !== undefined && { root: values.root }) });
const took: number[] = [];
const phases = new Map<string, number[]>();
try {
  for (let kill = 0; kill < Number(values.kills); kill += 1) {
    await delay(standbyMs);
    const leader = await cluster.leader();
    const victim = cluster.nodes[kill % nodes]!;
    const gone = new AbortController();
    let [pieces, lastMs] = [0, 0];
    const answer = leader.ask({ prompt: `${kill} ${prompt}`, maxTokens: 300, seed: kill }, { signal: gone.signal, onText: () => { pieces += 1; lastMs = performance.now(); } }).catch(() => undefined);
    await until("the answer is under way", () => pieces >= piecesBeforeKill, 60_000);
    const before = await phaseSums(cluster);
    const atMs = performance.now();
    await victim.kill("worker");
    await delay(onItsWayMs);
    const heard = pieces;
    await until("the answer goes on", () => pieces > heard, 60_000);
    took.push(lastMs - atMs);
    await delay(onItsWayMs);
    const parts = [...await phaseSums(cluster)].map(([name, sum]) => [name, sum - (before.get(name) ?? 0)] as const).filter(([, seconds]) => seconds > 0);
    for (const [name, seconds] of parts) phases.set(name, [...phases.get(name) ?? [], seconds]);
    console.log(`${victim.name}${victim === leader ? " (rank 0)" : ""}: next token after ${Math.round(lastMs - atMs)} ms; ${parts.map(([name, seconds]) => `${name} ${seconds.toFixed(2)}`).join(", ")}`);
    gone.abort();
    await answer;
    await cluster.ready();
  }
  console.log(`median ${Math.round(median(took))} ms, worst ${Math.round(Math.max(...took))} ms; medians of the parts in seconds: ${[...phases].map(([name, all]) => `${name} ${median(all).toFixed(2)}`).join(", ")}`);
} finally { await cluster.stop(); }
