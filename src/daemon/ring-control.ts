/**
 * Connects the cluster's view with inference: runs the scheduler exactly while this node leads a ready ring, and tells front
 * doors and callers from other nodes who computes now.
 *
 * A ring that was lost while the cluster still holds it to be ready (a step that failed, a link that broke) is started again
 * after a short pause; a worker that is gone makes the view not ready, and its reload makes it ready again.
 */
import type { Clock } from "../core/clock.js";
import { type BackoffPolicy, backoffMs } from "../core/backoff.js";
import { dialTarget } from "../core/dial.js";
import { MinidError } from "../core/errors.js";
import { type Epoch, type NodeId, sameEpoch } from "../core/ids.js";
import type { Log } from "../core/log.js";
import { type Transport, peerName } from "../core/transport.js";
import type { WorkerClient } from "../core/worker-client.js";
import type { ClusterView } from "./cluster/contract.js";
import type { Generator } from "./inference/generate.js";
import type { Leadership } from "./inference/generate-service.js";
import type { LocalGenerator } from "./inference/local-generator.js";
import { RemoteGenerator, connectGenerateClient } from "./inference/remote-generator.js";
import type { LeaderSource } from "./inference/resuming-generator.js";
import type { ReadyRing, RingDriver } from "./inference/ring-driver.js";
import type { RingPlan } from "./inference/scheduler-types.js";
import type { Plan } from "./planner/plan.js";

/** Pauses before a lost ring is started again, while the cluster holds it to be ready. */
const restartBackoff: BackoffPolicy = { initialMs: 50, factor: 2, maxMs: 1_000 };
/** A ring that computed this long starts again without a pause after its next loss. */
const stableMs = 10_000;

export interface RingControlDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly transport: Transport;
  readonly driver: RingDriver;
  readonly local: LocalGenerator;
  /** A channel to this node's own worker; one for each start of the ring, so that a worker that came back is found at once. */
  readonly connectWorker: () => WorkerClient;
  readonly prefillChunk: number;
}

interface Remote { readonly nodeId: NodeId; readonly epoch: Epoch; readonly address: string; readonly generator: Generator; readonly close: () => void }

export class RingControl implements LeaderSource {
  readonly #deps: RingControlDeps;
  readonly #waiting = new Set<(generator: Generator) => void>();
  #view: ClusterView | undefined;
  #running: { readonly epoch: Epoch; readonly planVersion: number; readonly sinceMs: number; readonly worker: WorkerClient } | undefined;
  #remote: Remote | undefined;
  #losses = 0;
  #restart: NodeJS.Timeout | undefined;

  constructor(deps: RingControlDeps) { this.#deps = deps; }

  /** After every change of the cluster's view. */
  update(view: ClusterView): void {
    this.#view = view;
    const leads = view.role === "leader" && view.ready && view.plan !== undefined && view.epoch !== undefined;
    if (this.#running && !(leads && this.#isRunning(view))) this.#stop(leads ? "a new plan is in force" : view.notReady[0] ?? "this node leads no ready ring");
    if (leads && !this.#running && this.#restart === undefined) this.#start();
    const generator = this.#current();
    if (!generator) return;
    for (const tell of this.#waiting) tell(generator);
    this.#waiting.clear();
  }

  /** The driver lost its ring. */
  lost(error: MinidError): void {
    const { clock, log } = this.#deps;
    if (!this.#running) return;
    this.#losses = clock.now() - this.#running.sinceMs > stableMs ? 0 : this.#losses + 1;
    this.#running.worker.close();
    this.#running = undefined;
    const pauseMs = backoffMs(restartBackoff, this.#losses);
    log.warn({ reason: error.message, pauseMs }, "ring lost, sequences are resumed");
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      if (this.#view) this.update(this.#view);
    }, pauseMs);
  }

  ready(signal: AbortSignal): Promise<Generator> {
    const generator = this.#current();
    if (generator) return Promise.resolve(generator);
    return new Promise((resolve, reject) => {
      const tell = (found: Generator) => { signal.removeEventListener("abort", onAbort); resolve(found); };
      const onAbort = () => { this.#waiting.delete(tell); reject(signal.reason as Error); };
      if (signal.aborted) { reject(signal.reason as Error); return; }
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(tell);
    });
  }

  whyNotReady(): MinidError | undefined {
    const view = this.#view;
    if (!view) return new MinidError("not_ready", "this node has just started");
    if (view.ready) return undefined;
    const reason = view.notReady[0] ?? "the ring is not ready";
    if (view.conditions.some((condition) => condition.code === "model_does_not_fit")) return new MinidError("model_does_not_fit", reason);
    return new MinidError(view.leader === undefined ? "no_leader" : "not_ready", reason);
  }

  /** For calls of other nodes' front doors. */
  leadership(): Leadership {
    const view = this.#view;
    if (view?.role !== "leader") return { kind: "refuses", code: "no_leader", message: "this node is not rank 0" };
    if (view.draining) return { kind: "refuses", code: "draining", message: "this node is leaving" };
    if (!this.#running) return { kind: "refuses", code: "not_ready", message: view.notReady[0] ?? "the ring is being started" };
    return { kind: "leads", epoch: this.#running.epoch, generator: this.#deps.local };
  }

  close(): void {
    clearTimeout(this.#restart);
    this.#stop("this node is stopping");
    this.#remote?.close();
    this.#remote = undefined;
  }

  #isRunning(view: ClusterView): boolean {
    return this.#running !== undefined && view.epoch !== undefined && sameEpoch(this.#running.epoch, view.epoch) && this.#running.planVersion === view.plan?.version;
  }

  #start(): void {
    const { driver, clock, log, prefillChunk } = this.#deps;
    const view = this.#view;
    if (!view?.plan || !view.epoch) return;
    const worker = this.#deps.connectWorker();
    const ring: ReadyRing = { epoch: view.epoch, planVersion: view.plan.version, modelId: view.plan.model.modelId, plan: ringPlan(view, view.plan, prefillChunk), worker };
    this.#running = { epoch: ring.epoch, planVersion: ring.planVersion, sinceMs: clock.now(), worker };
    log.info({ epoch: ring.epoch.counter, planVersion: ring.planVersion, worldSize: ring.plan.worldSize }, "ring started");
    driver.start(ring);
  }

  #stop(reason: string): void {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    this.#deps.driver.stop(reason);
    running.worker.close();
  }

  /** Who computes now: this node, or the leader by its rpc; undefined while nobody does. */
  #current(): Generator | undefined {
    const view = this.#view;
    if (!view?.ready || view.leader === undefined || view.epoch === undefined) return undefined;
    if (view.role === "leader") return this.#running ? this.#deps.local : undefined;
    const address = dialTarget(view.members.find((member) => member.nodeId === view.leader)?.agentAddresses ?? []);
    if (address === "") return undefined;
    if (this.#remote && this.#remote.nodeId === view.leader && this.#remote.address === address && sameEpoch(this.#remote.epoch, view.epoch)) return this.#remote.generator;
    this.#remote?.close();
    const client = connectGenerateClient(address, peerName(view.leader), this.#deps.transport);
    this.#remote = { nodeId: view.leader, epoch: view.epoch, address, generator: new RemoteGenerator(client, view.epoch), close: () => client.close() };
    return this.#remote.generator;
  }
}

function ringPlan(view: ClusterView, plan: Plan, prefillChunk: number): RingPlan {
  const replayed = plan.ranks.some((rank) => view.members.find((member) => member.nodeId === rank.nodeId)?.facts?.worker.replay === "decode");
  return {
    worldSize: plan.ranks.length,
    slots: plan.slots,
    kvTokensMax: plan.kvTokensMax,
    contextMax: plan.contextMax,
    batchMax: plan.batchMax,
    prefillChunk,
    engineReplay: replayed ? "decode" : "prefill",
  };
}
