/**
 * A worker beside its agent: another process, with its own durable record of the highest epoch it accepted. It loads the stage that it
 * is asked for, refuses older terms and plans, and may crash, hang or fail to load.
 */
import { type Epoch, compareEpochs, epochZero, sameEpoch } from "../../src/core/ids.js";
import type { Phase, ProbeReply } from "../../src/core/worker-protocol.js";
import type { LayerRange } from "../../src/model/spec.js";
import type { LoadedStage, WorkerFacts } from "../../src/daemon/membership/facts.js";
import type { LoadOutcome, WorkerProcess } from "../../src/daemon/supervisor/types.js";
import type { Agenda } from "./agenda.js";
import { SimStage } from "./sim-stage.js";

const RESTART_MS = 150;
const LOAD_MS_PER_LAYER = 30;
const ADOPT_MS = 5;
/** A worker that crashes over and over lives this long at most. */
const LOOP_MS = 450;
const UNREADABLE = "the model's files cannot be read";

/** What it is asked to hold. */
export interface StageOrder { readonly epoch: Epoch; readonly planVersion: number; readonly rank: number; readonly worldSize: number; readonly layers: LayerRange }

export interface WorkerHooks {
  /** The agent finds out about it when it probes. */
  readonly changed: () => void;
  readonly accepted: (before: Epoch, after: Epoch) => void;
  /** Planted bug: an older epoch is accepted too. */
  readonly acceptsOlder: boolean;
}

const phases: Record<WorkerFacts["phase"], Phase> = { absent: "PHASE_EMPTY", empty: "PHASE_EMPTY", loading: "PHASE_LOADING", idle: "PHASE_IDLE", busy: "PHASE_BUSY", failed: "PHASE_FAILED", draining: "PHASE_DRAINING" };

export class SimWorker {
  readonly #agenda: Agenda;
  readonly #name: string;
  readonly #hooks: WorkerHooks;
  #life = 0;
  #accepted: Epoch = epochZero;
  #phase: WorkerFacts["phase"] = "absent";
  #loaded: LoadedStage | undefined;
  #layers: LayerRange | undefined;
  #stage: SimStage | undefined;
  /** Newest stage asked for in this life. */
  #wanted: StageOrder | undefined;
  #loadFails = false;
  #unhealthy = false;
  #crashLooping = false;

  constructor(agenda: Agenda, name: string, hooks: WorkerHooks) {
    this.#agenda = agenda;
    this.#name = name;
    this.#hooks = hooks;
    this.start();
  }

  /** The process answers. */
  get up(): boolean { return this.#phase !== "absent" && !this.#unhealthy; }
  get stage(): SimStage | undefined { return this.#phase === "idle" && !this.#unhealthy ? this.#stage : undefined; }
  /** As its run file names it. */
  get process(): WorkerProcess | undefined { return this.#phase === "absent" ? undefined : { pid: this.#life, incarnation: `${this.#name}.${this.#life}` }; }

  /** What a simple agent without a supervisor tells the cluster. */
  facts(): WorkerFacts {
    return {
      incarnation: this.up ? `${this.#name}.${this.#life}` : "", phase: this.#unhealthy ? "absent" : this.#phase, restarts: this.#life, acceptedEpoch: this.#accepted,
      ...(this.up && this.#loaded && this.#phase === "idle" ? { loaded: this.#loaded } : {}),
      healthy: this.up && this.#phase !== "failed" && !this.#crashLooping, crashLooping: this.#crashLooping, error: this.#phase === "failed" ? UNREADABLE : "",
    };
  }

  /** What it answers to a probe; undefined: nothing. */
  reply(): ProbeReply | undefined {
    const { process } = this;
    if (!process || !this.up) return undefined;
    const order = this.#phase === "empty" ? undefined : this.#wanted;
    return {
      incarnation: process.incarnation, pid: process.pid, epoch: this.#accepted, phase: phases[this.#phase], inflight: 0, stepSeq: Math.floor(this.#agenda.now / 10), phaseAgeMs: 0, progressAgeMs: 0, loopLagMs: 0, bytesLoaded: 0, bytesTotal: 0,
      stage: order ? { planVersion: order.planVersion, modelId: "model", rank: order.rank, worldSize: order.worldSize, layerFirst: order.layers.first, layerEnd: order.layers.end, engine: "sim", numerics: "fast", replay: "prefill" } : null,
      errorCode: this.#phase === "failed" ? "model_unreadable" : "", error: this.#phase === "failed" ? UNREADABLE : "", rssBytes: 0, kvBytes: 0, engine: "sim", stepsTotal: 0, computeSecondsTotal: 0, cpuSecondsTotal: 0, computeCounts: [],
    };
  }

  /** The agent asks it to hold a stage. @param ended how the call ended; not called when the worker dies, hangs or is asked for another stage meanwhile. */
  load(order: StageOrder, ended: (outcome: LoadOutcome) => void): void {
    if (!this.up) { ended({ kind: "lost" }); return; }
    const age = compareEpochs(order.epoch, this.#accepted);
    const older = this.#wanted !== undefined && sameEpoch(this.#wanted.epoch, order.epoch) && order.planVersion < this.#wanted.planVersion;
    if ((age < 0 && !this.#hooks.acceptsOlder) || older) {
      this.#hooks.changed();
      ended({ kind: "refused", code: "stale_epoch", message: "a newer one was accepted here", retryable: true });
      return;
    }
    if (age !== 0) { this.#hooks.accepted(this.#accepted, order.epoch); this.#accepted = order.epoch; }
    this.#wanted = order;
    const { first, end } = order.layers;
    const kept = this.#layers ? Math.max(0, Math.min(end, this.#layers.end) - Math.max(first, this.#layers.first)) : 0;
    this.#phase = "loading";
    this.#loaded = undefined;
    this.#hooks.changed();
    const life = this.#life;
    this.#agenda.after(ADOPT_MS + (end - first - kept) * LOAD_MS_PER_LAYER, () => {
      if (life !== this.#life || this.#wanted !== order || this.#phase !== "loading") return;
      if (this.#loadFails) {
        this.#phase = "failed";
        ended({ kind: "refused", code: "model_unreadable", message: UNREADABLE, retryable: false });
      } else {
        this.#phase = "idle";
        this.#layers = order.layers;
        // A new plan finds every slot empty, also when the layers were there already.
        this.#stage = new SimStage(order.epoch, order.planVersion);
        this.#loaded = { epoch: order.epoch, planVersion: order.planVersion, layers: order.layers };
        ended({ kind: "ready" });
      }
      this.#hooks.changed();
    });
  }

  start(): void { this.#newLife("empty"); }
  /** Dies, and stays away until `start`. */
  stop(): void { this.#newLife("absent"); }

  /** Dies; pm2 starts it again. */
  crash(): void {
    this.stop();
    const life = this.#life;
    this.#agenda.after(RESTART_MS, () => { if (life === this.#life) this.start(); });
  }

  loseDisk(): void { this.#accepted = epochZero; }

  failLoads(on: boolean): void {
    this.#loadFails = on;
    if (!on && this.#phase === "failed") this.crash();
  }

  /** Answers nothing, until it is killed or it ends by itself. */
  hang(on: boolean): void {
    if (this.#phase === "absent") return;
    this.#unhealthy = on;
    this.#hooks.changed();
  }

  /** Judged to crash over and over, by an agent without a supervisor. */
  loop(on: boolean): void {
    this.#crashLooping = on;
    this.#hooks.changed();
  }

  /** Really crashes over and over. */
  crashUntil(time: number): void {
    if (this.#agenda.now >= time) return;
    this.crash();
    this.#agenda.after(LOOP_MS, () => this.crashUntil(time));
  }

  #newLife(phase: "empty" | "absent"): void {
    this.#life += 1;
    this.#unhealthy = false;
    this.#phase = phase;
    this.#loaded = undefined;
    this.#layers = undefined;
    this.#stage = undefined;
    this.#wanted = undefined;
    this.#hooks.changed();
  }
}
