/**
 * The agent's metrics, one registry a process. Names are a contract (DESIGN.md): `minid_*`, units in the name, seconds and
 * bytes. Counters and histograms are told here, as things happen; what is read when a scrape comes is in telemetry/state-metrics.ts.
 * The slow ones of one answer carry its request id as an exemplar, which the log lines of the same answer carry too.
 */
import { Counter, Histogram, Registry, type RegistryContentType, collectDefaultMetrics } from "prom-client";
import type { RankTime } from "../core/worker-protocol.js";
import type { ClusterEvent } from "./cluster/contract.js";
import type { Recovery } from "./inference/resume.js";
import { RecoveryPhases } from "./recovery-phases.js";
import type { SupervisorEvent } from "./supervisor/types.js";
import { type Exposition, type MetricGroup, expose } from "./telemetry/exposition.js";
import { electionCauses, finishReasons, memberStates, recoveries, restartReasons } from "./telemetry/from-zero.js";
import { type MetricSources, stateMetrics } from "./telemetry/state-metrics.js";
import { vllmNames } from "./telemetry/vllm-names.js";

/** Milliseconds for tokens, up to minutes for whole answers. */
const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const recoveryBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60];
const hopBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];
const tokenBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768];

/** What the front door tells of an answer that is over; the shape is src/api/observer.ts's. */
export interface Outcome {
  readonly endpoint: string; readonly code: string; readonly seconds: number; readonly promptTokens: number; readonly completionTokens: number;
  readonly requestId: string; readonly reasons: readonly string[]; readonly firstTokenSeconds: number | undefined;
}

export interface StepTimes { readonly computeMs: number; readonly ringMs: number; readonly times: readonly RankTime[] }

/** Time on the way, a hop: what the other ranks did not hold the frame for. Undefined in a ring of one, and while a rank does not tell. */
export function hopMs({ ringMs, times }: StepTimes, worldSize: number): number | undefined {
  if (worldSize < 2 || times.length !== worldSize - 1) return undefined;
  const held = times.reduce((sum, { heldMs }) => sum + heldMs, 0);
  return Number.isFinite(held) ? Math.max(0, ringMs - held) / worldSize : undefined;
}

export class Metrics {
  readonly registry: Registry<RegistryContentType> = new Registry<RegistryContentType>();
  readonly #groups: MetricGroup[];
  readonly #requests: Counter<"endpoint" | "code">;
  readonly #promptTokens: Counter;
  readonly #completionTokens: Counter;
  readonly #ttft: Histogram<"request_id">;
  readonly #interToken: Histogram;
  readonly #endToEnd: Histogram<"endpoint" | "request_id">;
  readonly #queue: Histogram;
  readonly #step: Histogram<"part">;
  readonly #hop: Histogram;
  readonly #perToken: Histogram;
  readonly #promptSize: Histogram;
  readonly #completionSize: Histogram;
  readonly #finished: Counter<"finished_reason">;
  readonly #recovery: Histogram<"cause" | "phase" | "request_id">;
  readonly #resumed: Counter;
  readonly #replayed: Counter;
  readonly #restarts: Counter<"reason">;
  readonly #elections: Counter<"cause">;
  readonly #plans: Counter;
  readonly #memberChanges: Counter<"to">;
  readonly #phases = new RecoveryPhases();

  /** @param options.vllm show the common ones under vLLM's names too. */
  constructor(sources: MetricSources, options: { readonly vllm: boolean } = { vllm: false }) {
    // Exemplars are taken by such registries only; which format a scrape gets is decided for each.
    this.registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    const registers = [this.registry];
    // Every sample wakes the process: at the 10 ms that are usual it would be most of what an idle agent does.
    collectDefaultMetrics({ register: this.registry, prefix: "minid_agent_", eventLoopMonitoringPrecision: 100 });
    this.#requests = new Counter({ name: "minid_requests_total", help: "Requests that ended, by endpoint and outcome code.", labelNames: ["endpoint", "code"], registers });
    this.#promptTokens = new Counter({ name: "minid_prompt_tokens_total", help: "Tokens of the prompts that were answered.", registers });
    this.#completionTokens = new Counter({ name: "minid_completion_tokens_total", help: "Tokens of the answers.", registers });
    this.#ttft = new Histogram({ name: "minid_time_to_first_token_seconds", help: "From a request's arrival to its first token.", buckets: latencyBuckets, registers, enableExemplars: true });
    this.#interToken = new Histogram({ name: "minid_inter_token_seconds", help: "Between two tokens of an answer.", buckets: latencyBuckets, registers });
    this.#endToEnd = new Histogram({ name: "minid_request_seconds", help: "From a request's arrival to its end.", labelNames: ["endpoint"], buckets: latencyBuckets, registers, enableExemplars: true });
    this.#perToken = new Histogram({ name: "minid_time_per_output_token_seconds", help: "Of one answer: from its first token to its end, a token.", buckets: latencyBuckets, registers });
    this.#promptSize = new Histogram({ name: "minid_request_prompt_tokens", help: "Tokens of one request's prompt.", buckets: tokenBuckets, registers });
    this.#completionSize = new Histogram({ name: "minid_request_completion_tokens", help: "Tokens of one request's answer.", buckets: tokenBuckets, registers });
    this.#finished = new Counter({ name: "minid_finished_answers_total", help: "Answers that came to their end, by why: stop or length.", labelNames: ["finished_reason"], registers });
    this.#queue = new Histogram({ name: "minid_queue_seconds", help: "From submission to admission by the scheduler.", buckets: latencyBuckets, registers });
    this.#step = new Histogram({ name: "minid_step_seconds", help: "One step of the ring: rank 0's own arithmetic (compute) and the way through the other ranks (ring).", labelNames: ["part"], buckets: latencyBuckets, registers });
    this.#hop = new Histogram({ name: "minid_hop_seconds", help: "From one rank to the next, activations included: what a step spent on the way, divided by its hops (rank 0).", buckets: hopBuckets, registers });
    this.#recovery = new Histogram({ name: "minid_recovery_seconds", help: "Time to get an interrupted answer or stage going again, by cause and phase (detect, elect, plan, restart, load, wait, replay, total).", labelNames: ["cause", "phase"], buckets: recoveryBuckets, registers, enableExemplars: true });
    this.#resumed = new Counter({ name: "minid_resumed_requests_total", help: "Times that an answer in flight was carried over a fault.", registers });
    this.#replayed = new Counter({ name: "minid_replayed_tokens_total", help: "Tokens that were computed again to resume answers.", registers });
    this.#restarts = new Counter({ name: "minid_worker_restarts_total", help: "Worker processes that ended and came back, by reason.", labelNames: ["reason"], registers });
    this.#elections = new Counter({ name: "minid_elections_total", help: "Elections that this node won, by cause.", labelNames: ["cause"], registers });
    this.#plans = new Counter({ name: "minid_plans_total", help: "Plans that this node made.", registers });
    this.#memberChanges = new Counter({ name: "minid_member_changes_total", help: "Changes of members' states as this node saw them.", labelNames: ["to"], registers });
    this.#beginAtZero();
    stateMetrics(this.registry, sources);
    this.#groups = [{ metrics: () => this.registry.getMetricsAsArray() }, ...(options.vllm ? [vllmNames(this.registry, sources)] : [])];
  }

  /** One scrape. @param accept the scraper's header. */
  expose(accept: string | undefined): Promise<Exposition> { return expose(this.#groups, accept); }

  #beginAtZero(): void {
    for (const { cause, phases } of recoveries) for (const phase of phases) this.#recovery.zero({ cause, phase });
    for (const reason of restartReasons) this.#restarts.inc({ reason }, 0);
    for (const cause of electionCauses) this.#elections.inc({ cause }, 0);
    for (const to of memberStates) this.#memberChanges.inc({ to }, 0);
    for (const finished_reason of finishReasons) this.#finished.inc({ finished_reason }, 0);
  }

  // --- told by the front door (the shape is src/api/observer.ts)
  firstToken(seconds: number, requestId: string): void { this.#ttft.observe({ value: seconds, exemplarLabels: exemplar(requestId) }); }
  interToken(seconds: number): void { this.#interToken.observe(seconds); }
  finished(outcome: Outcome): void {
    const { endpoint, seconds, promptTokens, completionTokens, firstTokenSeconds } = outcome;
    this.#requests.inc({ endpoint, code: outcome.code });
    this.#endToEnd.observe({ labels: { endpoint }, value: seconds, exemplarLabels: exemplar(outcome.requestId) });
    this.#promptTokens.inc(promptTokens);
    this.#completionTokens.inc(completionTokens);
    for (const finished_reason of outcome.reasons) this.#finished.inc({ finished_reason });
    if (outcome.code !== "ok") return;
    this.#promptSize.observe(promptTokens);
    this.#completionSize.observe(completionTokens);
    if (firstTokenSeconds !== undefined && completionTokens > 1) this.#perToken.observe(Math.max(0, seconds - firstTokenSeconds) / (completionTokens - 1));
  }

  // --- told by the scheduler's driver and the resuming generator
  admitted(queuedSeconds: number): void { this.#queue.observe(queuedSeconds); }
  step(step: StepTimes, worldSize: number): void {
    this.#step.observe({ part: "compute" }, step.computeMs / 1_000);
    if (step.ringMs > 0) this.#step.observe({ part: "ring" }, step.ringMs / 1_000);
    const hop = hopMs(step, worldSize);
    if (hop !== undefined) this.#hop.observe(hop / 1_000);
  }
  answerRecovered(recovery: Recovery, requestId: string): void {
    const { cause, detectMs, waitMs, replayMs } = recovery;
    this.#resumed.inc();
    this.#replayed.inc(recovery.replayedTokens);
    for (const [phase, ms] of Object.entries({ detect: detectMs, wait: waitMs, replay: replayMs, total: detectMs + waitMs + replayMs })) {
      this.#recovery.observe({ labels: { cause, phase }, value: ms / 1_000, exemplarLabels: exemplar(requestId) });
    }
  }

  // --- told by the supervisor and the cluster
  supervisorEvent(event: SupervisorEvent): void {
    if (event.kind === "restarted") this.#restarts.inc({ reason: event.reason });
    else if (event.kind === "recovery") this.#recovery.observe({ labels: { cause: "worker_restart", phase: event.phase }, value: event.tookMs / 1_000 });
  }
  /** @param silentMs of a member that died: since its last sign of life. */
  clusterEvent(event: ClusterEvent, nowMs: number, silentMs?: number): void {
    for (const { cause, phase, tookMs } of this.#phases.event(event, nowMs, silentMs)) this.#recovery.observe({ labels: { cause, phase }, value: tookMs / 1_000 });
    if (event.kind === "election_won") this.#elections.inc({ cause: event.cause });
    else if (event.kind === "planned") this.#plans.inc();
    else if (event.kind === "member") this.#memberChanges.inc({ to: event.to });
  }
}

/** OpenMetrics allows 128 characters for names and values of one exemplar together. */
const exemplarCharsMax = 100;
const exemplar = (requestId: string): { readonly request_id: string } => ({ request_id: requestId.slice(0, exemplarCharsMax) });
