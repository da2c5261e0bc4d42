/**
 * Metrics that are read and not told: gauges of the status snapshot, counters that the scheduler and the worker keep themselves.
 * They are looked up when a scrape comes, so they cannot disagree with /distributed/status. The worker's come out of its answers to
 * Probe: one scrape of a node covers agent and worker, and a worker that is gone has no numbers rather than old ones.
 */
import { Counter, Gauge, type Registry, type RegistryContentType } from "prom-client";
import type { ProbeReply } from "../../core/worker-protocol.js";
import type { SchedulerSnapshot } from "../inference/scheduler-types.js";
import type { DeviceStatus, StatusSnapshot } from "../status.js";
import { EngineSeconds } from "./engine-seconds.js";

export interface MetricSources {
  /** The newest status, from memory. */
  readonly status: () => StatusSnapshot;
  /** This node's worker's newest answer; undefined while it does not answer. */
  readonly worker: () => ProbeReply | undefined;
  /** This node's scheduler, whether it leads or not: its totals never fall. */
  readonly scheduler: () => SchedulerSnapshot;
  /** Requests that may wait. */
  readonly queueMax: number;
}

export function stateMetrics(registry: Registry<RegistryContentType>, sources: MetricSources): void {
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    const metric: Gauge = new Gauge({ name, help, registers, collect: () => { metric.set(value()); } });
  };
  const labelled = <L extends string>(name: string, help: string, labelNames: readonly L[], values: () => readonly { readonly labels: Record<L, string>; readonly value: number }[]): void => {
    const metric: Gauge<L> = new Gauge<L>({ name, help, labelNames: [...labelNames], registers, collect: () => {
      metric.reset();
      for (const { labels, value } of values()) metric.set(labels, value);
    } });
  };
  const counter = (name: string, help: string, value: () => number): void => {
    const metric: Counter = new Counter({ name, help, registers, collect: () => { metric.reset(); metric.inc(value()); } });
  };
  const { status } = sources;
  const self = (): DeviceStatus | undefined => status().devices.find((device) => device.self);
  const having = (...states: readonly DeviceStatus["status"][]): number => status().devices.filter((device) => states.includes(device.status)).length;

  labelled("minid_info", "Always 1; what this node is.", ["version", "device_id", "cluster_name", "model"], () => {
    const { node, cluster, model } = status();
    return [{ labels: { version: node.version, device_id: node.device_id, cluster_name: cluster.name, model: model.id }, value: 1 }];
  });
  gauge("minid_ready", "1 when a request would be served now.", () => Number(status().ready));
  gauge("minid_is_coordinator", "1 on rank 0.", () => Number(status().role === "leader"));
  gauge("minid_has_leader", "1 while this node knows a leader.", () => Number(status().leader !== null));
  gauge("minid_rank", "This node's rank in the plan in force; -1 when it holds no stage.", () => self()?.rank ?? -1);
  labelled("minid_role", "1 for the part that this node plays: leader, follower, candidate or listening.", ["role"], () =>
    (["leader", "follower", "candidate", "listening"] as const).map((role) => ({ labels: { role }, value: Number(status().role === role) })));
  gauge("minid_epoch", "Counter of the leadership term in force.", () => status().epoch?.counter ?? 0);
  gauge("minid_plan_version", "Version of the plan in force.", () => status().plan?.version ?? 0);
  gauge("minid_world_size", "Ranks of the plan in force.", () => status().world_size);
  gauge("minid_members_alive", "Members that this node holds to be alive, itself included.", () => status().devices.length - having("dead", "left"));
  gauge("minid_members_dead", "Members that this node holds to be dead; those that left in order are not counted.", () => having("dead"));
  labelled("minid_condition", "1 for each condition that holds now, by its code.", ["code", "severity", "device_id"], () =>
    status().conditions.map(({ code, severity, device_id = "" }) => ({ labels: { code, severity, device_id }, value: 1 })));
  gauge("minid_stage_ready", "1 when this node's worker has its stage of the plan loaded.", () => Number(self()?.rank !== null && self()?.status === "healthy"));
  gauge("minid_stage_layers", "Layers of the model that this node's worker has to hold.", () => { const layers = self()?.layers; return layers ? layers[1] - layers[0] : 0; });

  const inference = (name: string, help: string, value: (scheduler: SchedulerSnapshot) => number): void => gauge(name, help, () => {
    const scheduler = status().inference;
    return scheduler ? value(scheduler) : 0;
  });
  inference("minid_requests_running", "Sequences that compute now (rank 0).", (scheduler) => scheduler.running);
  inference("minid_requests_waiting", "Sequences that wait for admission (rank 0).", (scheduler) => scheduler.queued);
  gauge("minid_queue_max", "Sequences that may wait; one more is refused.", () => sources.queueMax);
  inference("minid_steps_in_flight", "Steps on their way round the ring (rank 0).", (scheduler) => scheduler.stepsInFlight);
  inference("minid_kv_tokens_reserved", "Tokens of key-value cache promised to running sequences (rank 0).", (scheduler) => scheduler.kvTokens.reserved);
  inference("minid_kv_tokens_cached", "Tokens of key-value cache held by cached prefixes (rank 0).", (scheduler) => scheduler.kvTokens.cached);
  inference("minid_kv_tokens_max", "Tokens of key-value cache that the ring has memory for (rank 0).", (scheduler) => scheduler.kvTokens.max);
  inference("minid_kv_use_ratio", "Share of the key-value cache that running sequences hold, 0 to 1 (rank 0).", ({ kvTokens }) => (kvTokens.max > 0 ? kvTokens.reserved / kvTokens.max : 0));
  const { scheduler } = sources;
  counter("minid_steps_total", "Steps that this node's scheduler sent round the ring.", () => scheduler().totals.steps);
  counter("minid_prefill_tokens_total", "Tokens computed as parts of prompts, replayed answers included.", () => scheduler().totals.prefillTokens);
  counter("minid_decoded_tokens_total", "Tokens sampled.", () => scheduler().totals.decodedTokens);
  counter("minid_prefix_cache_tokens_total", "Prompt tokens not computed because a cached prefix held them.", () => scheduler().totals.cachedTokens);
  counter("minid_recomputed_tokens_total", "Tokens of answers that the scheduler computed again because their sequence was resumed or gave way.", () => scheduler().totals.replayedTokens);
  counter("minid_preemptions_total", "Sequences that went back into the line because an older one needed their memory.", () => scheduler().totals.preemptions);

  workerMetrics(registry, sources, { gauge, counter });
}

interface Makers { readonly gauge: (name: string, help: string, value: () => number) => void; readonly counter: (name: string, help: string, value: () => number) => void }

function workerMetrics(registry: Registry<RegistryContentType>, { worker, status }: MetricSources, { gauge, counter }: Makers): void {
  gauge("minid_worker_up", "1 while this node's worker answers and moves.", () => Number(status().devices.find((device) => device.self)?.worker?.healthy ?? false));
  gauge("minid_worker_resident_bytes", "Resident memory of this node's worker process.", () => worker()?.rssBytes ?? 0);
  gauge("minid_worker_kv_bytes", "Memory that this node's worker holds in key-value cache.", () => worker()?.kvBytes ?? 0);
  gauge("minid_worker_loaded_bytes", "Bytes of its stage that this node's worker has loaded.", () => worker()?.bytesLoaded ?? 0);
  gauge("minid_worker_stage_bytes", "Bytes of the stage that this node's worker holds or loads.", () => worker()?.bytesTotal ?? 0);
  gauge("minid_worker_steps_in_flight", "Calls that this node's worker has given to its engine and not had back.", () => worker()?.inflight ?? 0);
  gauge("minid_worker_loop_lag_seconds", "Worst delay of the worker's event loop in the last second.", () => (worker()?.loopLagMs ?? 0) / 1_000);
  counter("minid_worker_cpu_seconds_total", "Processor time of this node's worker process, user and system.", () => worker()?.cpuSecondsTotal ?? 0);
  counter("minid_worker_steps_total", "Steps that this node's worker has computed its part of.", () => worker()?.stepsTotal ?? 0);
  registry.registerMetric(new EngineSeconds(worker));
}
