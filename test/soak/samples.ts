/**
 * Looks at a cluster every few seconds: what each process uses, what its agent's metrics say, what the ring holds, how fast answers come.
 * Series are kept by node and kind of process, over its deaths; where the process is another than before, the series says so.
 */
import { readdirSync } from "node:fs";
import type { StatusSnapshot } from "../../src/daemon/status.js";
import type { Answer } from "../support/answer.js";
import type { Cluster, ClusterNode } from "../support/cluster.js";
import { processUse } from "./process-use.js";
import { type Point, median } from "./slope.js";

export const measures = ["rss", "heap", "external", "fds", "sockets", "threads", "timers", "handles", "requests", "kv", "files", "slots", "reserved", "cached", "msPerToken", "cpuPerToken"] as const;
export type Measure = (typeof measures)[number];

export interface Series { readonly node: string; readonly kind: string; readonly measure: Measure; readonly points: Point[]; /** Processes one after the other, by when each was first seen. */ readonly lives: number[] }

const megabyte = 1 << 20;
const timeoutMs = 2_000;
/** A process that has just started says nothing about the next one. */
const youngMs = 10_000;

/** Of the agent's metrics, by their exposition. */
const agentMetrics: readonly (readonly [Measure, string, number])[] = [
  ["heap", "minid_agent_nodejs_heap_size_used_bytes", 1 / megabyte],
  ["external", "minid_agent_nodejs_external_memory_bytes", 1 / megabyte],
  ["timers", 'minid_agent_nodejs_active_resources{type="Timeout"}', 1],
  ["handles", "minid_agent_nodejs_active_handles_total", 1],
  ["requests", "minid_agent_nodejs_active_requests_total", 1],
];

export class Samples {
  readonly #cluster: Cluster;
  readonly #series = new Map<string, Series>();
  /** First sight and processor time at the last look, by process. */
  readonly #known = new Map<string, { readonly sinceMs: number; cpuMs: number }>();
  #answers: { readonly ms: number; readonly tokens: number }[] = [];
  #looking: Promise<void> | undefined;

  constructor(cluster: Cluster) { this.#cluster = cluster; }

  get series(): readonly Series[] { return [...this.#series.values()]; }

  answered({ totalMs, completionTokens }: Answer): void { this.#answers.push({ ms: totalMs, tokens: completionTokens }); }

  /** @returns ends it, after the look under way. */
  every(intervalMs: number): () => Promise<void> {
    const timer = setInterval(() => { this.#looking ??= this.#look().finally(() => { this.#looking = undefined; }); }, intervalMs);
    return async () => { clearInterval(timer); await this.#looking; };
  }

  async #look(): Promise<void> {
    const atMs = performance.now();
    let cpuMs = 0;
    for (const node of this.#cluster.nodes) for (const [kind, { pid, startTime }] of node.processes()) {
      const use = processUse(pid);
      if (!use) continue;
      const id = `${pid} ${startTime}`;
      const known = this.#known.get(id) ?? { sinceMs: atMs, cpuMs: use.cpuMs };
      cpuMs += use.cpuMs - known.cpuMs;
      this.#known.set(id, { sinceMs: known.sinceMs, cpuMs: use.cpuMs });
      const put = (measure: Measure, value: number | undefined): void => { if (value !== undefined) this.#put(node.name, kind, measure, atMs, value, known.sinceMs); };
      put("rss", use.rssBytes / megabyte);
      for (const measure of ["fds", "sockets", "threads"] as const) put(measure, use[measure]);
    }
    const tokens = this.#answers.reduce((sum, answer) => sum + answer.tokens, 0);
    if (tokens > 0) {
      // Those that did not stream were not timed.
      const timed = this.#answers.filter(({ ms }) => ms > 0);
      if (timed.length > 0) this.#put("all", "answers", "msPerToken", atMs, median(timed.map((answer) => answer.ms / Math.max(1, answer.tokens))));
      this.#put("all", "answers", "cpuPerToken", atMs, cpuMs / tokens);
    }
    this.#answers = [];
    await Promise.all(this.#cluster.nodes.filter(({ running }) => running).map((node) => this.#ask(node, atMs)));
  }

  /** A frozen or starting agent answers nothing: then there is no point. */
  async #ask(node: ClusterNode, atMs: number): Promise<void> {
    this.#put(node.name, "home", "files", atMs, files(node.home));
    try {
      const agent = node.processes().get("agent");
      const since = this.#known.get(`${agent?.pid} ${agent?.startTime}`)?.sinceMs;
      const response = await fetch(`${node.url}/metrics`, { signal: AbortSignal.timeout(timeoutMs) });
      const lines = new Map((await response.text()).split("\n").filter((line) => !line.startsWith("#")).map((line) => { const end = line.lastIndexOf(" "); return [line.slice(0, end), Number(line.slice(end + 1))]; }));
      for (const [measure, name, unit] of agentMetrics) this.#put(node.name, "agent", measure, atMs, (lines.get(name) ?? 0) * unit, since);
      this.#ring(node, await node.status(), atMs);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
  }

  #ring(node: ClusterNode, status: StatusSnapshot, atMs: number): void {
    const worker = status.devices.find((device) => device.self)?.worker;
    if (worker?.kv_bytes !== undefined && worker.healthy) this.#put(node.name, "worker", "kv", atMs, worker.kv_bytes / megabyte);
    if (status.leader?.device_id !== node.name || !status.inference) return;
    const { slots, kvTokens } = status.inference;
    this.#put("all", "ring", "slots", atMs, slots.active);
    this.#put("all", "ring", "reserved", atMs, kvTokens.reserved);
    this.#put("all", "ring", "cached", atMs, kvTokens.cached);
  }

  #put(node: string, kind: string, measure: Measure, atMs: number, value: number, sinceMs?: number): void {
    const key = `${node} ${kind} ${measure}`;
    const series = this.#series.get(key) ?? { node, kind, measure, points: [], lives: [] };
    this.#series.set(key, series);
    if (sinceMs !== undefined) {
      if (!series.lives.includes(sinceMs)) series.lives.push(sinceMs);
      if (atMs - sinceMs < youngMs) return;
    }
    series.points.push({ atMs, value });
  }
}

function files(home: string): number {
  try { return readdirSync(home, { recursive: true }).length; } catch { return 0; }
}
