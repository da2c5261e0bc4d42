/**
 * The Grafana dashboard as a table of panels, written to ops/grafana/minid.json by `npm run docs`. Built with Grafana's own typed
 * builders, so that what is written is what Grafana's schema allows. `npm run test:ops` runs every query against a real Prometheus.
 */
import { pathToFileURL } from "node:url";
import { writeFileSync } from "node:fs";
import { type Dashboard, DashboardBuilder, DatasourceVariableBuilder, QueryVariableBuilder, RowBuilder, VariableRefresh } from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

interface Query { readonly expr: string; readonly legend: string; readonly exemplar?: boolean }
interface PanelRow { readonly title: string; readonly panels: readonly PanelSpec[] }
interface PanelSpec { readonly kind: "stat" | "lines"; readonly title: string; readonly what: string; readonly unit: string; readonly queries: readonly Query[]; readonly max?: number }

const datasource = { type: "prometheus", uid: "${datasource}" };
const of = `cluster=~"$cluster"`;
const query = (expr: string, legend = "", exemplar = false): Query => ({ expr, legend, exemplar });
const rate = (metric: string, by: string, match = ""): string => `sum by (${by}) (rate(${metric}{${of}${match}}[$__rate_interval]))`;
const quantile = (q: number, metric: string, by = ""): string => `histogram_quantile(${q}, sum by (le${by}) (rate(${metric}_bucket{${of}}[$__rate_interval])))`;
const quantiles = (metric: string): Query[] => [query(quantile(0.5, metric), "half", true), query(quantile(0.95, metric), "95 %", true), query(quantile(0.99, metric), "99 %", true)];
const stat = (title: string, what: string, unit: string, expr: string): PanelSpec => ({ kind: "stat", title, what, unit, queries: [query(expr)] });
const lines = (title: string, what: string, unit: string, ...queries: readonly Query[]): PanelSpec => ({ kind: "lines", title, what, unit, queries });

const rows: readonly PanelRow[] = [
  { title: "Now", panels: [
    stat("Serving", "1 when a request would be served now", "bool_yes_no", `max(minid_ready{${of}})`),
    stat("Machines", "Alive, as the best informed node sees it", "none", `max(minid_members_alive{${of}})`),
    stat("Ranks", "Machines that hold a stage", "none", `max(minid_world_size{${of}})`),
    stat("Tokens a second", "Sampled by the ring", "none", `sum(rate(minid_decoded_tokens_total{${of}}[$__rate_interval]))`),
    stat("Running", "Sequences that compute", "none", `max(minid_requests_running{${of}})`),
    stat("Waiting", "Sequences in the queue", "none", `max(minid_requests_waiting{${of}})`),
  ] },
  { title: "What clients see", panels: [
    lines("Time to first token", "From a request's arrival; the dots carry request ids", "s", ...quantiles("minid_time_to_first_token_seconds")),
    lines("Between tokens", "Of one answer", "s", ...quantiles("minid_inter_token_seconds")),
    lines("Whole requests", "From arrival to end", "s", ...quantiles("minid_request_seconds")),
    lines("Requests a second", "By outcome; ok, or a code of docs/ERRORS.md", "reqps", query(rate("minid_requests_total", "code"), "{{code}}")),
    lines("Tokens a second", "Sampled, and computed as parts of prompts", "none", query(rate("minid_decoded_tokens_total", "cluster"), "sampled"), query(rate("minid_prefill_tokens_total", "cluster"), "prompts"), query(rate("minid_prefix_cache_tokens_total", "cluster"), "prompts, from the cache")),
    lines("Queue", "Waiting and running, and how long admission took", "none", query(`max(minid_requests_waiting{${of}})`, "waiting"), query(`max(minid_requests_running{${of}})`, "running")),
  ] },
  { title: "The ring", panels: [
    lines("A step", "Rank 0's own arithmetic, and the way through the other ranks", "s", query(quantile(0.5, "minid_step_seconds", ", part"), "{{part}}")),
    lines("A hop", "From one rank to the next", "s", ...quantiles("minid_hop_seconds")),
    lines("Waiting for admission", "From submission to the first step", "s", ...quantiles("minid_queue_seconds")),
    lines("Engine busy", "Share of the time that each machine's engine computed", "percentunit", query(rate("minid_worker_engine_seconds_sum", "device_id"), "{{device_id}}")),
    lines("An engine call", "Half of a stage's calls take less", "s", query(quantile(0.5, "minid_worker_engine_seconds", ", device_id"), "{{device_id}}")),
    lines("Cache in use", "Share of the key-value cache that running sequences hold", "percentunit", query(`max by (cluster) (minid_kv_use_ratio{${of}})`, "{{cluster}}")),
  ] },
  { title: "Faults and recoveries", panels: [
    lines("Recovery", "Time to get an answer or a stage going again, by cause (95 %)", "s", query(`histogram_quantile(0.95, sum by (le, cause) (increase(minid_recovery_seconds_bucket{${of}, phase=~"total|elect|load"}[$__range]))) >= 0`, "{{cause}}", true)),
    lines("Answers moved on", "Answers that were carried over a fault", "none", query(`sum by (device_id) (increase(minid_resumed_requests_total{${of}}[$__range]))`, "through {{device_id}}")),
    lines("Worker restarts", "By machine and reason", "none", query(`sum by (device_id, reason) (increase(minid_worker_restarts_total{${of}}[$__range])) > 0`, "{{device_id}} {{reason}}")),
    lines("Members", "Alive and dead, as the nodes see it", "none", query(`max(minid_members_alive{${of}})`, "alive"), query(`max(minid_members_dead{${of}})`, "dead")),
    lines("Rank 0", "Who leads, and the term", "none", query(`minid_is_coordinator{${of}}`, "{{device_id}}")),
    lines("Stages ready", "1 where the stage of the plan is loaded", "none", query(`minid_stage_ready{${of}}`, "{{device_id}}")),
  ] },
  { title: "Machines", panels: [
    lines("Processor", "Of worker and agent, in cores", "none", query(rate("minid_worker_cpu_seconds_total", "device_id"), "{{device_id}} worker"), query(rate("minid_agent_process_cpu_seconds_total", "device_id"), "{{device_id}} agent")),
    lines("Memory", "Resident, of worker and agent", "bytes", query(`minid_worker_resident_bytes{${of}}`, "{{device_id}} worker"), query(`minid_agent_process_resident_memory_bytes{${of}}`, "{{device_id}} agent")),
    lines("Cache memory", "Key-value cache that each worker holds", "bytes", query(`minid_worker_kv_bytes{${of}}`, "{{device_id}}")),
  ] },
];

export function grafanaDashboard(): Dashboard {
  const builder = new DashboardBuilder("minid").uid("minid").description("One minid cluster: what clients see, the ring, faults and recoveries, machines.").tags(["minid"]).refresh("10s").time({ from: "now-30m", to: "now" })
    .withVariable(new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"))
    .withVariable(new QueryVariableBuilder("cluster").label("Cluster").datasource(datasource).query("label_values(minid_info, cluster)").refresh(VariableRefresh.OnTimeRangeChanged).includeAll(true).multi(true));
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title));
    const width = row.panels[0]?.kind === "stat" ? 24 / row.panels.length : 8;
    for (const panel of row.panels) builder.withPanel(panelOf(panel, width));
  }
  return builder.build();
}

function panelOf({ kind, title, what, unit, queries }: PanelSpec, width: number): StatBuilder | TimeseriesBuilder {
  const panel = kind === "stat" ? new StatBuilder().height(4) : new TimeseriesBuilder().height(8).min(0);
  panel.title(title).description(what).unit(unit).datasource(datasource).span(width);
  for (const [index, { expr, legend, exemplar = false }] of queries.entries()) {
    const target = new DataqueryBuilder().refId(String.fromCodePoint(65 + index)).expr(expr).legendFormat(legend === "" ? "__auto" : legend).exemplar(exemplar);
    panel.withTarget(kind === "stat" ? target.instant() : target.range());
  }
  return panel;
}

export const grafanaJson = (): string => `${JSON.stringify(grafanaDashboard(), null, 2)}\n`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) writeFileSync("ops/grafana/minid.json", grafanaJson());
