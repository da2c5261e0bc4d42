/**
 * The names under which vLLM shows the same things, so that dashboards and alerts made for it work here (setting
 * `metrics_vllm_names`). Each is one of our metrics under another name: nothing is measured twice, and what we do not measure has
 * no name here.
 */
import { Counter, Gauge, Registry, type RegistryContentType } from "prom-client";
import { invariant } from "../../core/invariant.js";
import { type MetricGroup, viewOf } from "./exposition.js";
import type { MetricSources } from "./state-metrics.js";

/** vLLM's name → ours. */
const names: Readonly<Record<string, string>> = {
  "vllm:num_requests_running": "minid_requests_running",
  "vllm:num_requests_waiting": "minid_requests_waiting",
  "vllm:kv_cache_usage_perc": "minid_kv_use_ratio",
  // Before vLLM 0.10.
  "vllm:gpu_cache_usage_perc": "minid_kv_use_ratio",
  "vllm:num_preemptions_total": "minid_preemptions_total",
  "vllm:prompt_tokens_total": "minid_prefill_tokens_total",
  "vllm:generation_tokens_total": "minid_decoded_tokens_total",
  "vllm:prefix_cache_hits_total": "minid_prefix_cache_tokens_total",
  "vllm:request_success_total": "minid_finished_answers_total",
  "vllm:time_to_first_token_seconds": "minid_time_to_first_token_seconds",
  "vllm:inter_token_latency_seconds": "minid_inter_token_seconds",
  "vllm:request_time_per_output_token_seconds": "minid_time_per_output_token_seconds",
  "vllm:e2e_request_latency_seconds": "minid_request_seconds",
  "vllm:request_queue_time_seconds": "minid_queue_seconds",
  "vllm:request_prompt_tokens": "minid_request_prompt_tokens",
  "vllm:request_generation_tokens": "minid_request_completion_tokens",
};

export function vllmNames(registry: Registry<RegistryContentType>, sources: MetricSources): MetricGroup {
  const own = new Registry();
  const queries: Counter = new Counter({ name: "vllm:prefix_cache_queries_total", help: "Prompt tokens looked up in the prefix cache.", registers: [own], collect: () => {
    const { cachedTokens, prefillTokens } = sources.scheduler().totals;
    queries.reset();
    queries.inc(cachedTokens + prefillTokens);
  } });
  const cache: Gauge<"block_size" | "num_gpu_blocks"> = new Gauge({ name: "vllm:cache_config_info", help: "Settings of the cache; always 1.", labelNames: ["block_size", "num_gpu_blocks"], registers: [own], collect: () => {
    cache.reset();
    cache.set({ block_size: "1", num_gpu_blocks: String(sources.status().plan?.kv_tokens_max ?? 0) }, 1);
  } });
  return {
    labels: () => ({ model_name: sources.status().model.id, engine: "0" }),
    metrics: () => {
      const ours = new Map(registry.getMetricsAsArray().map((metric) => [metric.name, metric]));
      const aliases = Object.entries(names).map(([name, our]) => {
        const metric = ours.get(our);
        invariant(metric, `${name} stands for ${our}, which does not exist`);
        return viewOf(metric, { name });
      });
      return [...aliases, ...own.getMetricsAsArray()];
    },
  };
}
