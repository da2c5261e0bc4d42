/**
 * A scrape's text, in the format that the scraper asks for: Prometheus' own, or OpenMetrics, which also carries exemplars (the
 * request id beside a slow observation). Groups of metrics become one document. Changes no metric: prom-client renames counters
 * in place for OpenMetrics, so it is given views of them.
 */
import { Registry, type MetricObject, type RegistryContentType } from "prom-client";

export interface Exposition { readonly contentType: string; readonly body: string }

export interface MetricGroup {
  readonly metrics: () => readonly MetricObject[];
  /** On every sample of the group. */
  readonly labels?: () => Readonly<Record<string, string>>;
}

/** @param accept the scraper's header; OpenMetrics only when it is named there. */
export async function expose(groups: readonly MetricGroup[], accept: string | undefined): Promise<Exposition> {
  const open = accept?.includes("application/openmetrics-text") ?? false;
  const contentType = open ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE;
  const texts = await Promise.all(groups.map((group) => new View(contentType, group).metrics()));
  const body = texts.map((text) => text.replace(/# EOF\n$/u, "")).join(open ? "" : "\n");
  return { contentType, body: open ? `${body}# EOF\n` : body };
}

/** One group's metrics under names that may be changed. */
class View extends Registry<RegistryContentType> {
  readonly #group: MetricGroup;

  constructor(contentType: RegistryContentType, group: MetricGroup) {
    super();
    this.setContentType(contentType);
    this.#group = group;
    this.setDefaultLabels(group.labels?.() ?? {});
  }

  override getMetricsAsArray(): MetricObject[] { return this.#group.metrics().map((metric) => viewOf(metric)); }
}

/** The same metric under other properties of its own: what is set on the view does not reach the original. */
export function viewOf(metric: MetricObject, own: Partial<MetricObject> = {}): MetricObject {
  return Object.assign(Object.create(metric) as MetricObject, own);
}
