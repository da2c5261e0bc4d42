/**
 * A worker beside its agent: another process, with its own durable record of the highest epoch it accepted. It loads the stage that it
 * is asked for, refuses older terms, and may crash, hang or fail to load.
 */
import { type Epoch, compareEpochs, epochZero, sameEpoch } from "../../src/core/ids.js";
import type { LayerRange } from "../../src/model/spec.js";
import type { LoadedStage, WorkerFacts } from "../../src/daemon/membership/facts.js";
import type { Plan, PlanRank } from "../../src/daemon/planner/plan.js";
import type { Agenda } from "./agenda.js";
import { SimStage } from "./sim-stage.js";

const RESTART_MS = 150;
const LOAD_MS_PER_LAYER = 30;
const ADOPT_MS = 5;

export interface WorkerHooks {
  /** The agent finds out about it when it probes. */
  readonly changed: () => void;
  readonly accepted: (before: Epoch, after: Epoch) => void;
  /** Planted bug: an older epoch is accepted too. */
  readonly acceptsOlder: boolean;
}

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
  #wanted: Plan | undefined;
  #loading = 0;
  #loadFails = false;
  #unhealthy = false;
  #crashLooping = false;

  constructor(agenda: Agenda, name: string, hooks: WorkerHooks) {
    this.#agenda = agenda;
    this.#name = name;
    this.#hooks = hooks;
    this.start();
  }

  get accepted(): Epoch { return this.#accepted; }
  /** The process answers. */
  get up(): boolean { return this.#phase !== "absent" && !this.#unhealthy; }
  get life(): number { return this.#life; }
  get stage(): SimStage | undefined { return this.#phase === "idle" && !this.#unhealthy ? this.#stage : undefined; }
  get loaded(): LoadedStage | undefined { return this.#phase === "idle" ? this.#loaded : undefined; }

  facts(): WorkerFacts {
    const up = this.#phase !== "absent" && !this.#unhealthy;
    return {
      incarnation: up ? `${this.#name}.${this.#life}` : "", phase: this.#unhealthy ? "absent" : this.#phase, restarts: this.#life, acceptedEpoch: this.#accepted,
      ...(up && this.#loaded && this.#phase === "idle" ? { loaded: this.#loaded } : {}),
      healthy: up && this.#phase !== "failed" && !this.#crashLooping, crashLooping: this.#crashLooping, error: this.#phase === "failed" ? "the model's files cannot be read" : "",
    };
  }

  /** The agent asks it to hold a stage. */
  load(plan: Plan, rank: PlanRank | undefined): void {
    if (this.#phase === "absent" || this.#unhealthy || !rank) return;
    const order = compareEpochs(plan.epoch, this.#accepted);
    if (order < 0 && !this.#hooks.acceptsOlder) { this.#hooks.changed(); return; }
    if (this.#wanted && sameEpoch(this.#wanted.epoch, plan.epoch) && plan.version < this.#wanted.version) return;
    this.#wanted = plan;
    if (order !== 0) { this.#hooks.accepted(this.#accepted, plan.epoch); this.#accepted = plan.epoch; }
    this.#loading += 1;
    const mine = this.#loading;
    const kept = this.#layers ? Math.max(0, Math.min(rank.layers.end, this.#layers.end) - Math.max(rank.layers.first, this.#layers.first)) : 0;
    const lacking = rank.layers.end - rank.layers.first - kept;
    this.#phase = "loading";
    this.#loaded = undefined;
    this.#hooks.changed();
    const life = this.#life;
    this.#agenda.after(ADOPT_MS + lacking * LOAD_MS_PER_LAYER, () => {
      if (life !== this.#life || mine !== this.#loading || this.#phase !== "loading") return;
      if (this.#loadFails) this.#phase = "failed";
      else {
        this.#phase = "idle";
        this.#layers = rank.layers;
        // A new plan finds every slot empty, also when the layers were there already.
        this.#stage = new SimStage(plan.epoch, plan.version);
        this.#loaded = { epoch: plan.epoch, planVersion: plan.version, layers: rank.layers };
      }
      this.#hooks.changed();
    });
  }

  start(): void {
    this.#life += 1;
    this.#phase = "empty";
    this.#loaded = undefined;
    this.#layers = undefined;
    this.#wanted = undefined;
    this.#hooks.changed();
  }

  /** Dies, and stays away until `start`. */
  stop(): void {
    this.#life += 1;
    this.#phase = "absent";
    this.#loaded = undefined;
    this.#layers = undefined;
    this.#wanted = undefined;
    this.#hooks.changed();
  }

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
  hang(on: boolean): void { this.#unhealthy = on; this.#hooks.changed(); }
  loop(on: boolean): void { this.#crashLooping = on; this.#hooks.changed(); }
}
