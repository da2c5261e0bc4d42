/**
 * The agent's metrics, one registry a process. Names are a contract (DESIGN.md): `minid_*`, units in the name, seconds and
 * bytes. Gauges of state are read from the status snapshot when they are scraped, so they cannot disagree with /distributed/status;
 * counters and histograms are told as things happen.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { ClusterEvent } from "./cluster/contract.js";
import type { Recovery } from "./inference/resume.js";
import type { SchedulerSnapshot } from "./inference/scheduler-types.js";
import type { StatusSnapshot } from "./status.js";
import type { SupervisorEvent } from "./supervisor/types.js";

/** Milliseconds for tokens, up to minutes for whole answers. */
const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const recoveryBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60];

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<"endpoint" | "code">;
  readonly #promptTokens: Counter;
  readonly #completionTokens: Counter;
  readonly #ttft: Histogram;
  readonly #interToken: Histogram;
  readonly #endToEnd: Histogram<"endpoint">;
  readonly #queue: Histogram;
  readonly #step: Histogram<"part">;
  readonly #recovery: Histogram<"cause" | "phase">;
  readonly #resumed: Counter;
  readonly #replayed: Counter;
  readonly #restarts: Counter<"reason">;
  readonly #elections: Counter<"cause">;
  readonly #plans: Counter;
  readonly #memberChanges: Counter<"to">;
  #readyVersion = 0;

  /** @param snapshot the newest status, from memory. */
  constructor(snapshot: () => StatusSnapshot) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry, prefix: "minid_agent_" });
    this.#requests = new Counter({ name: "minid_requests_total", help: "Requests that ended, by endpoint and outcome code.", labelNames: ["endpoint", "code"], registers });
    this.#promptTokens = new Counter({ name: "minid_prompt_tokens_total", help: "Tokens of the prompts that were answered.", registers });
    this.#completionTokens = new Counter({ name: "minid_completion_tokens_total", help: "Tokens of the answers.", registers });
    this.#ttft = new Histogram({ name: "minid_time_to_first_token_seconds", help: "From a request's arrival to its first token.", buckets: latencyBuckets, registers });
    this.#interToken = new Histogram({ name: "minid_inter_token_seconds", help: "Between two tokens of an answer.", buckets: latencyBuckets, registers });
    this.#endToEnd = new Histogram({ name: "minid_request_seconds", help: "From a request's arrival to its end.", labelNames: ["endpoint"], buckets: latencyBuckets, registers });
    this.#queue = new Histogram({ name: "minid_queue_seconds", help: "From submission to admission by the scheduler.", buckets: latencyBuckets, registers });
    this.#step = new Histogram({ name: "minid_step_seconds", help: "One step of the ring: rank 0's own arithmetic (compute) and the way through the other ranks (ring).", labelNames: ["part"], buckets: latencyBuckets, registers });
    this.#recovery = new Histogram({ name: "minid_recovery_seconds", help: "Time to get an interrupted answer or stage going again, by cause and phase.", labelNames: ["cause", "phase"], buckets: recoveryBuckets, registers });
    this.#resumed = new Counter({ name: "minid_resumed_requests_total", help: "Times that an answer in flight was carried over a fault.", registers });
    this.#replayed = new Counter({ name: "minid_replayed_tokens_total", help: "Tokens that were computed again to resume answers.", registers });
    this.#restarts = new Counter({ name: "minid_worker_restarts_total", help: "Worker processes that ended and came back, by reason.", labelNames: ["reason"], registers });
    this.#elections = new Counter({ name: "minid_elections_total", help: "Elections that this node won, by cause.", labelNames: ["cause"], registers });
    this.#plans = new Counter({ name: "minid_plans_total", help: "Plans that this node made.", registers });
    this.#memberChanges = new Counter({ name: "minid_member_changes_total", help: "Changes of members' states as this node saw them.", labelNames: ["to"], registers });
    this.#addGauges(snapshot);
  }

  // --- told by the front door (the shape is src/api/observer.ts)
  firstToken(seconds: number): void { this.#ttft.observe(seconds); }
  interToken(seconds: number): void { this.#interToken.observe(seconds); }
  finished(outcome: { readonly endpoint: string; readonly code: string; readonly seconds: number; readonly promptTokens: number; readonly completionTokens: number }): void {
    this.#requests.inc({ endpoint: outcome.endpoint, code: outcome.code });
    this.#endToEnd.observe({ endpoint: outcome.endpoint }, outcome.seconds);
    this.#promptTokens.inc(outcome.promptTokens);
    this.#completionTokens.inc(outcome.completionTokens);
  }

  // --- told by the scheduler's driver and the resuming generator
  admitted(queuedSeconds: number): void { this.#queue.observe(queuedSeconds); }
  step(computeSeconds: number, ringSeconds: number): void {
    this.#step.observe({ part: "compute" }, computeSeconds);
    if (ringSeconds > 0) this.#step.observe({ part: "ring" }, ringSeconds);
  }
  answerRecovered(recovery: Recovery): void {
    const { cause, detectMs, waitMs, replayMs } = recovery;
    this.#resumed.inc();
    this.#replayed.inc(recovery.replayedTokens);
    for (const [phase, ms] of Object.entries({ detect: detectMs, wait: waitMs, replay: replayMs, total: detectMs + waitMs + replayMs })) this.#recovery.observe({ cause, phase }, ms / 1_000);
  }

  // --- told by the supervisor and the cluster
  supervisorEvent(event: SupervisorEvent): void {
    if (event.kind === "restarted") this.#restarts.inc({ reason: event.reason });
    else if (event.kind === "recovery") this.#recovery.observe({ cause: "worker_restart", phase: event.phase }, event.tookMs / 1_000);
  }
  clusterEvent(event: ClusterEvent): void {
    if (event.kind === "election_won") {
      this.#elections.inc({ cause: event.cause });
      this.#recovery.observe({ cause: event.cause, phase: "elect" }, event.tookMs / 1_000);
    } else if (event.kind === "ready" && event.version > this.#readyVersion) {
      // Later times of the same plan are workers that came back: the supervisor tells of those.
      this.#readyVersion = event.version;
      this.#recovery.observe({ cause: "plan", phase: "load" }, event.sincePlanMs / 1_000);
    } else if (event.kind === "planned") this.#plans.inc();
    else if (event.kind === "member") this.#memberChanges.inc({ to: event.to });
  }

  #addGauges(snapshot: () => StatusSnapshot): void {
    const gauge = (name: string, help: string, value: (status: StatusSnapshot) => number): void => {
      const metric: Gauge = new Gauge({ name, help, registers: [this.registry], collect: (): void => { metric.set(value(snapshot())); } });
    };
    const inference = (name: string, help: string, value: (scheduler: SchedulerSnapshot) => number): void =>
      gauge(name, help, (status) => (status.inference ? value(status.inference) : 0));

    gauge("minid_ready", "1 when a request would be served now.", (status) => Number(status.ready));
    gauge("minid_is_coordinator", "1 on rank 0.", (status) => Number(status.role === "leader"));
    gauge("minid_epoch", "Counter of the leadership term in force.", (status) => status.epoch?.counter ?? 0);
    gauge("minid_plan_version", "Version of the plan in force.", (status) => status.plan?.version ?? 0);
    gauge("minid_world_size", "Ranks of the plan in force.", (status) => status.world_size);
    gauge("minid_members_alive", "Members that this node holds to be alive, itself included.", (status) => status.devices.filter((device) => !["dead", "left"].includes(device.status)).length);
    gauge("minid_stage_ready", "1 when this node's worker has its stage of the plan loaded.", (status) => Number(status.devices.some((device) => device.self && device.rank !== null && device.status === "healthy")));
    gauge("minid_worker_kv_bytes", "Memory that this node's worker holds in key-value cache.", (status) => status.devices.find((device) => device.self)?.worker?.kv_bytes ?? 0);
    gauge("minid_worker_resident_bytes", "Resident memory of this node's worker process.", (status) => status.devices.find((device) => device.self)?.worker?.rss_bytes ?? 0);
    inference("minid_requests_running", "Sequences that compute now (rank 0).", (scheduler) => scheduler.running);
    inference("minid_requests_waiting", "Sequences that wait for admission (rank 0).", (scheduler) => scheduler.queued);
    inference("minid_steps_in_flight", "Steps on their way round the ring (rank 0).", (scheduler) => scheduler.stepsInFlight);
    inference("minid_kv_tokens_reserved", "Tokens of key-value cache promised to running sequences (rank 0).", (scheduler) => scheduler.kvTokens.reserved);
    inference("minid_kv_tokens_cached", "Tokens of key-value cache held by cached prefixes (rank 0).", (scheduler) => scheduler.kvTokens.cached);
    inference("minid_kv_tokens_max", "Tokens of key-value cache that the ring has memory for (rank 0).", (scheduler) => scheduler.kvTokens.max);
  }
}
