/** A real Prometheus (Debian's) with the shipped configuration, hurried: it asks every second. `stop()` leaves no process and no file. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts } from "./ports.js";
import { until } from "./wait.js";

const ops = fileURLToPath(new URL("../../ops/", import.meta.url));
export const hasPrometheus = spawnSync("prometheus", ["--version"]).status === 0;

export interface Sample { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }
export interface Alert { readonly labels: Readonly<Record<string, string>>; readonly state: "pending" | "firing" }

export class Prometheus {
  readonly #url: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.#url = url;
    this.#child = child;
    this.#directory = directory;
  }

  /** @param nodes addresses (host:port) of the nodes that are asked who there is. */
  static async start(nodes: readonly string[]): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), "minid-prometheus-"));
    for (const file of ["minid.rules.yml", "minid.alerts.yml"]) copyFileSync(join(ops, file), join(directory, file));
    const shipped = readFileSync(join(ops, "prometheus.yml"), "utf8");
    const [discovery] = /^ {6}- url: http:\/\/localhost:8100\/\S+\n(?: {8}.*\n)+/mu.exec(shipped) ?? [];
    if (discovery === undefined) throw new Error("ops/prometheus.yml has no discovery of localhost:8100");
    const hurried = shipped.replace(discovery, nodes.map((node) => discovery.replace("localhost:8100", node)).join(""))
      .replace(/scrape_interval: \S+/u, "scrape_interval: 1s").replace(/scrape_timeout: \S+/u, "scrape_timeout: 1s").replace(/evaluation_interval: \S+/u, "evaluation_interval: 1s").replaceAll(/refresh_interval: \S+/gu, "refresh_interval: 2s");
    writeFileSync(join(directory, "prometheus.yml"), hurried);
    const [port] = await freePorts(1);
    const child = spawn("prometheus", [`--config.file=${join(directory, "prometheus.yml")}`, `--storage.tsdb.path=${join(directory, "data")}`, `--web.listen-address=127.0.0.1:${port}`, "--enable-feature=exemplar-storage", "--log.level=warn"], { stdio: ["ignore", "ignore", "inherit"] });
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, child, directory);
    await until("Prometheus is ready", async () => (await fetch(`${prometheus.#url}/-/ready`)).ok, 60_000);
    return prometheus;
  }

  /** Targets by the name of their machine. */
  async targets(): Promise<ReadonlyMap<string, { readonly health: string; readonly error: string }>> {
    const { activeTargets } = await this.#get<{ activeTargets: readonly { labels: Record<string, string>; health: string; lastError: string }[] }>("targets", {});
    return new Map(activeTargets.map(({ labels, health, lastError }) => [labels["device_id"] ?? "", { health, error: lastError }]));
  }

  async query(query: string): Promise<readonly Sample[]> { return (await this.#get<{ result: readonly Sample[] }>("query", { query })).result; }

  async exemplars(query: string): Promise<readonly Readonly<Record<string, string>>[]> {
    const now = Date.now() / 1_000;
    const series = await this.#get<readonly { exemplars: readonly { labels: Record<string, string> }[] }[]>("query_exemplars", { query, start: String(now - 3_600), end: String(now) });
    return series.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels));
  }

  /** Names of the alerts that fire. */
  async firing(): Promise<Set<string>> {
    const { alerts } = await this.#get<{ alerts: readonly Alert[] }>("alerts", {});
    return new Set(alerts.filter(({ state }) => state === "firing").map(({ labels }) => labels["alertname"] ?? ""));
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #get<T>(path: string, parameters: Record<string, string>): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`, { signal: AbortSignal.timeout(10_000) });
    const body = await response.json() as { status: string; error?: string; data: T };
    if (body.status !== "success") throw new Error(`Prometheus: ${body.error ?? response.status}`);
    return body.data;
  }
}
