/**
 * Everything that watches and nothing that acts: metrics, the timeline, and the vitals of this node and of the others. Told by the
 * agent's parts as things happen; asked by the status snapshot and by scrapes. Once a second it measures and, when something
 * changed, tells the other members.
 */
import { type Clock, Timers } from "../../core/clock.js";
import type { NodeId } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import type { ClusterEvent, ClusterView, Destination } from "../cluster/contract.js";
import type { Recovery } from "../inference/resume.js";
import type { RingObserver } from "../inference/ring-driver.js";
import type { WorkerFacts } from "../membership/facts.js";
import { Metrics, type Outcome } from "../metrics.js";
import type { SupervisorEvent } from "../supervisor/types.js";
import type { Bulletin } from "./bulletin.js";
import type { Exposition } from "./exposition.js";
import { Narrator } from "./narrator.js";
import type { MetricSources } from "./state-metrics.js";
import { type Happening, Timeline, type TimelineEvent } from "./timeline.js";
import { type RequestBegun, type Tracing, startTracing } from "./tracing.js";
import { type Vitals, VitalsMeter } from "./vitals.js";

const measureIntervalMs = 1_000;
/** All is told again this often, to whoever came or missed it. */
const repeatMs = 10_000;
/** Vitals of a member not heard from for this long are not shown. */
const vitalsStaleMs = repeatMs + 5_000;

export interface TelemetryDeps {
  readonly deviceId: string;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly sources: MetricSources;
  readonly vllmNames: boolean;
  readonly version: string;
  readonly otlp: { readonly endpoint: string | undefined; readonly sampleRatio: number };
  readonly view: () => ClusterView;
  readonly send: (to: Destination, bulletin: Bulletin) => void;
}

/** For the status snapshot. */
export interface TelemetryView { readonly vitalsOf: (nodeId: string) => Vitals | undefined; readonly events: readonly TimelineEvent[] }

export class Telemetry {
  readonly #deps: TelemetryDeps;
  readonly #metrics: Metrics;
  readonly #timeline: Timeline;
  readonly #narrator: Narrator;
  readonly #meter = new VitalsMeter();
  readonly #timers: Timers;
  readonly #others = new Map<string, { readonly vitals: Vitals; readonly atMs: number }>();
  #own: Vitals | undefined;
  #tracing: Tracing | undefined;
  #told = { vitals: "", events: "", atMs: -Infinity };

  constructor(deps: TelemetryDeps) {
    this.#deps = deps;
    this.#metrics = new Metrics(deps.sources, { vllm: deps.vllmNames });
    this.#timeline = new Timeline(deps.nodeId, deps.clock.wallMs());
    this.#narrator = new Narrator(deps.deviceId);
    this.#timers = new Timers((name, error) => deps.log.error({ timer: name, error: String(error) }, "a timer failed"));
  }

  async start(): Promise<void> {
    const { otlp, deviceId, version, clock, log } = this.#deps;
    this.#timers.every("vitals", measureIntervalMs, () => this.#measure());
    if (otlp.endpoint !== undefined) this.#tracing = await startTracing({ endpoint: otlp.endpoint, sampleRatio: otlp.sampleRatio, deviceId, version, clock, log });
  }
  async stop(): Promise<void> {
    this.#timers.stop();
    await this.#tracing?.stop();
  }

  expose(accept: string | undefined): Promise<Exposition> { return this.#metrics.expose(accept); }

  view(): TelemetryView {
    const now = this.#deps.clock.now();
    return {
      vitalsOf: (nodeId) => {
        if (nodeId === this.#deps.nodeId) return this.#own;
        const known = this.#others.get(nodeId);
        return known && now - known.atMs < vitalsStaleMs ? known.vitals : undefined;
      },
      events: this.#timeline.all(),
    };
  }

  /** Of another member. */
  bulletin(from: NodeId, bulletin: Bulletin): void {
    this.#others.set(from, { vitals: bulletin.vitals, atMs: this.#deps.clock.now() });
    if (bulletin.events) this.#timeline.learn(from, bulletin.events);
  }

  // --- told by the front door (the shape is src/api/observer.ts)
  begin(request: RequestBegun): string | undefined { return this.#tracing?.begin(request); }
  firstToken(seconds: number, requestId: string): void {
    this.#tracing?.firstToken(requestId);
    this.#metrics.firstToken(seconds, requestId);
    this.#meter.firstToken(seconds, this.#deps.clock.now());
  }
  interToken(seconds: number): void {
    this.#metrics.interToken(seconds);
    this.#meter.interToken(seconds, this.#deps.clock.now());
  }
  finished(outcome: Outcome): void {
    this.#metrics.finished(outcome);
    this.#tracing?.finish(outcome);
  }

  /** For the scheduler's driver. */
  readonly ring: RingObserver = {
    onStep: (step) => {
      this.#metrics.step(step, step.worldSize);
      this.#meter.step(step, this.#deps.clock.now());
      if (step.traces.length > 0) this.#tracing?.step(step, step.traces);
    },
    onAdmitted: (queuedMs) => this.#metrics.admitted(queuedMs / 1_000),
  };

  answerRecovered(recovery: Recovery, requestId: string): void {
    this.#metrics.answerRecovered(recovery, requestId);
    this.#tracing?.recovered(recovery, requestId);
    this.#note(this.#narrator.resumed(recovery));
  }
  supervisorEvent(event: SupervisorEvent): void {
    this.#metrics.supervisorEvent(event);
    this.#note(this.#narrator.supervisor(event));
  }
  clusterEvent(event: ClusterEvent): void {
    const { clock, view } = this.#deps;
    const dead = event.kind === "member" && event.to === "dead" ? view().members.find((member) => member.nodeId === event.nodeId) : undefined;
    this.#metrics.clusterEvent(event, clock.now(), dead?.ageMs);
    this.#note(this.#narrator.cluster(event));
  }
  workerFacts(facts: WorkerFacts): void { this.#note(this.#narrator.worker(facts)); }

  #note(happening: Happening | undefined): void {
    if (happening) this.#timeline.note(happening, this.#deps.deviceId, this.#deps.clock.wallMs());
  }

  #measure(): void {
    const { clock, sources, view } = this.#deps;
    const now = clock.now();
    const { role, members } = view();
    this.#own = this.#meter.measure(now, sources.worker(), sources.scheduler(), role === "leader");
    for (const id of this.#others.keys()) if (!members.some(({ nodeId }) => nodeId === id)) this.#others.delete(id);

    const vitals = JSON.stringify(this.#own);
    const events = JSON.stringify(this.#timeline.own);
    const repeat = now - this.#told.atMs >= repeatMs;
    const newEvents = events !== this.#told.events;
    if (!repeat && !newEvents && vitals === this.#told.vitals) return;
    this.#told = { vitals, events, atMs: repeat ? now : this.#told.atMs };
    const bulletin: Bulletin = { type: "bulletin", vitals: this.#own, ...(repeat || newEvents ? { events: this.#timeline.own } : {}) };
    for (const member of members) if (!member.self && member.state === "alive") this.#deps.send({ nodeId: member.nodeId, addresses: member.agentAddresses }, bulletin);
  }
}
