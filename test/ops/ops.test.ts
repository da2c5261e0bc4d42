/**
 * `npm run test:ops`: the shipped monitoring on a real cluster of three nodes, judged by a real Prometheus that found them through the
 * service-discovery document: every panel of the Grafana dashboard has data, alerts fire for real faults and clear after them.
 * Alerts keep the patience they are shipped with, so this takes minutes.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { grafanaDashboard } from "../../scripts/grafana.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { Prometheus, hasPrometheus } from "../support/prometheus.js";
import { until } from "../support/wait.js";

const waitMs = 240_000;
const story = { prompt: "Tell me a long story about a lighthouse keeper and a storm.", maxTokens: 120 };

/** Every query of every panel, with Grafana's variables filled in. */
function panelQueries({ panels = [] }: Dashboard): { readonly title: string; readonly expr: string }[] {
  return panels.flatMap((panel) => ("targets" in panel ? panel.targets ?? [] : []).map((target) => ({
    title: panel.title ?? "", expr: String((target as { expr?: string }).expr).replaceAll("$cluster", ".*").replaceAll("$__rate_interval", "3m").replaceAll("$__range", "15m"),
  })));
}

describe.skipIf(!hasPrometheus)("monitoring a real cluster (skipped without prometheus)", () => {
  let cluster: Cluster;
  let prometheus: Prometheus;
  const seen: Record<string, string> = {};
  const took = (since: number): string => `${((performance.now() - since) / 1_000).toFixed(1)} s`;
  const fires = async (alert: string): Promise<void> => {
    const since = performance.now();
    await until(`${alert} fires`, async () => (await prometheus.firing()).has(alert), waitMs);
    seen[`${alert} fired after`] = took(since);
  };
  const clears = async (alert: string): Promise<void> => {
    const since = performance.now();
    await until(`${alert} clears`, async () => !(await prometheus.firing()).has(alert), waitMs);
    seen[`${alert} cleared after`] = took(since);
  };

  beforeAll(async () => {
    // Few may wait, so that a queue fills; the dead are given up late (a quarter of it where all ports refuse), so that a cluster is without a leader for a while; no successor stands by, so that a worker can stay dead.
    cluster = await startCluster({ nodes: 3, settings: { "queue-max": 10, "batch-max": 1, "dead-after-ms": 160_000, "worker-standby": false, "metrics-vllm-names": true }, readyTimeoutMs: waitMs });
    prometheus = await Prometheus.start(cluster.nodes.map(({ url }) => new URL(url).host));
  }, 300_000);
  afterAll(async () => {
    console.log(JSON.stringify(seen));
    await prometheus?.stop();
    await cluster?.stop();
  }, 240_000);

  it("finds and scrapes all three nodes", async () => {
    await until("three targets are up", async () => {
      const targets = await prometheus.targets();
      return targets.size === 3 && [...targets.values()].every(({ health }) => health === "up");
    }, waitMs);
    expect([...(await prometheus.targets()).keys()].sort()).toEqual(["node1", "node2", "node3"]);
    expect(await prometheus.query("count(minid_info)")).toMatchObject([{ value: [expect.any(Number), "3"] }]);
  }, 300_000);

  it("has data for every panel of the dashboard once there was load and a fault", async () => {
    const leader = await cluster.leader();
    const [door, victim] = cluster.nodes.filter((node) => node !== leader) as [ClusterNode, ClusterNode];
    for (let round = 0; round < 3; round += 1) await leader.ask({ ...story, maxTokens: 24 });
    let killed: Promise<void> | undefined;
    const answer = await door.ask(story, { onText: (count) => { if (count === 30) killed = victim.kill("worker"); } });
    await killed;
    expect(answer.completionTokens).toBe(story.maxTokens);
    await cluster.ready(waitMs);
    await door.ask({ ...story, maxTokens: 24 });

    const queries = panelQueries(grafanaDashboard());
    expect(queries.length).toBeGreaterThan(30);
    await until("every query returns data", async () => {
      const empty: string[] = [];
      for (const { title, expr } of queries) {
        const samples = await prometheus.query(expr);
        if (!samples.some(({ value }) => Number.isFinite(Number(value[1])))) empty.push(`${title}: ${expr}`);
      }
      if (empty.length > 0) throw new Error(`no data for\n${empty.join("\n")}`);
      return true;
    }, 90_000);
    seen["dashboard queries with data"] = String(queries.length);
    for (const name of ["minid:tokens:rate1m", "minid:engine_busy:ratio1m", "minid:time_to_first_token_seconds:p95_5m", "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_count"]) expect((await prometheus.query(name)).length, name).toBeGreaterThan(0);

    // The dots beside the latencies lead to the log.
    const exemplars = await prometheus.exemplars("minid_time_to_first_token_seconds_bucket");
    expect(exemplars.length).toBeGreaterThan(0);
    expect(exemplars.every((labels) => (labels["request_id"] ?? "") !== "")).toBe(true);
    seen["exemplars with request ids"] = String(exemplars.length);
    expect([...await prometheus.firing()].filter((name) => name !== "MinidErrors")).toEqual([]);
  }, 480_000);

  it("fires for a queue that fills, and clears", async () => {
    const leader = await cluster.leader();
    const enough = new AbortController();
    const asking = Array.from({ length: 9 }, () => leader.ask({ ...story, maxTokens: 600 }, { signal: enough.signal }).catch(() => undefined));
    await fires("MinidQueueFilling");
    enough.abort();
    await Promise.all(asking);
    await clears("MinidQueueFilling");
  }, 600_000);

  it("fires for a worker that stays dead, and clears when it is back", async () => {
    const leader = await cluster.leader();
    const victim = cluster.nodes.find((node) => node !== leader)!;
    // Whoever would start it anew stands still.
    await victim.signal("pm2", "SIGSTOP");
    await victim.kill("worker");
    await fires("MinidWorkerDown");
    await victim.signal("pm2", "SIGCONT");
    await clears("MinidWorkerDown");
    await cluster.ready(waitMs);
  }, 600_000);

  it("fires for a cluster without a leader, then for the machine that is lost, and clears both", async () => {
    const leader = await cluster.leader();
    await leader.kill("node");
    await fires("MinidNoLeader");
    await clears("MinidNoLeader");
    await fires("MinidNodeLost");
    leader.start();
    await cluster.ready(waitMs);
    await clears("MinidNodeLost");
    expect([...await prometheus.firing()].filter((name) => name !== "MinidErrors" && name !== "MinidTargetDown")).toEqual([]);
  }, 600_000);
});
