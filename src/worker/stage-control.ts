/**
 * What this worker is part of: the fence of epochs and plans, the stage, and its place in the ring. Load changes it; steps and
 * frames pass through it to the ring only while they belong to the plan that is active.
 *
 * Invariants: an epoch is on disk before anything is done in its name. From the moment a newer plan is accepted, nothing of the
 * older one runs or is answered as if it had. A plan that takes over a loaded stage finds every slot empty.
 */
import { MinidError, toMinidError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Transport } from "../core/transport.js";
import { type CacheOp, type Frame, type LoadProgress, type LoadRequest, type Phase, type Step, type StepResult, wireEpoch } from "../core/worker-protocol.js";
import type { EngineHost } from "./engine-host.js";
import type { EpochStore } from "./epoch-store.js";
import { admitLoad, admitStep, sameTerm, termText } from "./fence.js";
import { type Load, parseLoadRequest } from "./load-request.js";
import { RingHead, type Run } from "./ring-head.js";
import { RingLink } from "./ring-link.js";
import { RingMember, type Upstream } from "./ring-member.js";
import type { StageJob, StageLoader } from "./stage-loader.js";

export interface StageControlOptions {
  readonly host: EngineHost;
  /** May hold a stage already: it is taken if it is the one that is wanted first. */
  readonly loader: StageLoader;
  readonly epochs: EpochStore;
  readonly transport: Transport;
  readonly log: Log;
  /** Something that Probe shows may have changed. */
  readonly onChange: () => void;
  /** A stage has its place in the ring. */
  readonly onReady: (load: LoadRequest) => void;
}

type Ring = { readonly load: Load; readonly stage: StageJob } & ({ readonly head: RingHead; readonly member: undefined } | { readonly head: undefined; readonly member: RingMember });

export class StageControl {
  readonly #options: StageControlOptions;
  readonly #loader: StageLoader;
  #wanted: Load | undefined;
  #ring: Ring | undefined;
  #admission: Promise<unknown> = Promise.resolve();
  #draining = false;

  constructor(options: StageControlOptions) {
    this.#options = options;
    this.#loader = options.loader;
  }

  /** Steps that rank 0 has taken and not answered. */
  get pendingSteps(): number { return this.#ring?.head?.pending ?? 0; }
  get wanted(): Load | undefined { return this.#wanted; }
  get stage(): StageJob | undefined { return this.#loader.job; }
  get failure(): MinidError | undefined { return this.#loader.failure; }

  get phase(): Phase {
    if (this.#draining) return "PHASE_DRAINING";
    const { job, failure } = this.#loader;
    if (failure) return "PHASE_FAILED";
    // A spare counts for nothing until a Load wants it.
    if (!job || (job.info && !this.#wanted)) return "PHASE_EMPTY";
    // Ready is who would take a step: a loaded stage that has no place in the wanted ring yet is not.
    if (!job.info || this.#ring?.load !== this.#wanted) return "PHASE_LOADING";
    return this.#options.host.inflight > 0 ? "PHASE_BUSY" : "PHASE_IDLE";
  }

  /** @throws MinidError invalid_value | stale_epoch | draining | home_unusable | model_* | engine_* */
  async load(wire: LoadRequest, onProgress: (progress: LoadProgress) => void): Promise<LoadProgress> {
    const { load, job, reused } = await this.#admitted(parseLoadRequest(wire));
    try {
      const info = await this.#loader.wait(job, (bytesLoaded, bytesTotal) => { onProgress({ bytesLoaded, bytesTotal, ready: false, reused }); });
      await this.#activate(load, job);
      this.#options.onChange();
      this.#options.onReady(wire);
      this.#options.log.info({ term: termText(load.term), model: load.modelId, rank: load.rank, worldSize: load.worldSize, layers: [load.options.layerFirst, load.options.layerEnd], engine: info.engine, reused }, "stage ready");
    } catch (error) {
      if (this.#wanted !== load) throw superseded(load, this.#wanted);
      this.#options.log.warn({ term: termText(load.term), model: load.modelId, code: toMinidError(error).code }, `stage not loaded: ${toMinidError(error).message}`);
      throw error;
    }
    const { board } = this.#options.host;
    return { bytesLoaded: board.get("bytesLoaded"), bytesTotal: board.get("bytesTotal"), ready: true, reused };
  }

  /** Rank 0. @param done called once, in the order of the steps, unless this throws. @throws MinidError stale_epoch | not_ready | draining */
  submit(run: Run, step: Step, done: (result: StepResult) => void): void {
    const ring = this.#admitStep(step);
    if (!ring.head) throw new MinidError("not_ready", `this worker is rank ${ring.load.rank}: steps go to rank 0`);
    this.#logOpened(step.ops, ring.load.rank);
    ring.head.submit(run, step, done);
  }

  /** A frame of the rank before. @throws MinidError stale_epoch | not_ready | draining */
  async frame(frame: Frame, upstream: Upstream): Promise<void> {
    if (this.#ring?.head && sameTerm(this.#ring.load.term, { epoch: wireEpoch(frame.epoch), planVersion: frame.planVersion })) {
      this.#ring.head.returned(frame);
      return;
    }
    const ring = this.#admitStep(frame);
    this.#logOpened(frame.ops, ring.load.rank);
    await ring.member?.accept(frame, upstream);
  }

  upstreamEnded(upstream: Upstream): void { this.#ring?.member?.upstreamEnded(upstream); }

  /** Takes nothing new, finishes what was begun. Resolves when nothing is under way; then `stop`. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#options.onChange();
    await this.#ring?.head?.empty();
    await this.#ring?.member?.empty();
    await this.#options.host.idle();
  }

  /** Leaves the ring. */
  async stop(): Promise<void> { await this.#retire(new MinidError("draining", "this worker is leaving")); }

  /** Fence, disk, then the switch to the new plan: one Load at a time. */
  #admitted(arrived: Load): Promise<{ readonly load: Load; readonly job: StageJob; readonly reused: boolean }> {
    const admission = this.#admission.then(async () => {
      const { epochs } = this.#options;
      if (this.#draining) throw new MinidError("draining", "this worker is leaving and loads nothing");
      admitLoad(epochs.highest, this.#wanted?.term, arrived.term);
      // The same Load again, of a caller that lost its answer: both wait for the same thing.
      const load = this.#wanted && samePlace(this.#wanted, arrived) && this.#wanted.stageKey === arrived.stageKey ? this.#wanted : arrived;
      await epochs.accept(load.term.epoch);
      if (this.#wanted && !sameTerm(this.#wanted.term, load.term)) void this.#retire(superseded(this.#wanted, load));
      this.#wanted = load;
      const reused = this.#loader.job?.load.stageKey === load.stageKey;
      if (!reused) void this.#retire(new MinidError("stage_lost", "the stage is replaced by another"));
      return { load, job: this.#loader.start(load), reused };
    });
    this.#admission = admission.catch(() => undefined);
    return admission;
  }

  async #activate(load: Load, stage: StageJob): Promise<void> {
    if (this.#ring && this.#ring.stage === stage && samePlace(this.#ring.load, load)) return;
    void this.#retire(new MinidError("stage_lost", "the ring changed"));
    await this.#options.host.request<"adopt">({ kind: "adopt", rank: load.rank });
    if (this.#wanted !== load || this.#loader.job !== stage) throw superseded(load, this.#wanted);
    void this.#retire(new MinidError("stage_lost", "the ring changed"));
    this.#ring = this.#makeRing(load, stage);
  }

  #makeRing(load: Load, stage: StageJob): Ring {
    const { host, transport } = this.#options;
    if (load.worldSize === 1) return { load, stage, head: new RingHead(host, load.term, undefined), member: undefined };
    let part: RingHead | RingMember | undefined;
    const link = new RingLink({
      address: load.nextAddress, name: load.nextName, transport,
      onFailure: (failure) => part?.failed(failure),
      onBroken: (error) => part?.broken(error),
    });
    if (load.rank === 0) {
      const head = new RingHead(host, load.term, link);
      part = head;
      return { load, stage, head, member: undefined };
    }
    const member = new RingMember({ host, rank: load.rank, last: load.rank === load.worldSize - 1, link });
    part = member;
    return { load, stage, head: undefined, member };
  }

  #logOpened(ops: readonly CacheOp[], rank: number): void {
    for (const op of ops) if (op.op === "open" && op.open.requestId) this.#options.log.info({ requestId: op.open.requestId, slot: op.open.slot, rank }, "sequence opened");
  }

  #admitStep(wire: Step | Frame): Ring {
    if (this.#draining) throw new MinidError("draining", "this worker is leaving and takes no new steps");
    const ring = this.#ring;
    admitStep(this.#options.epochs.highest, ring?.load.term, { epoch: wireEpoch(wire.epoch), planVersion: wire.planVersion });
    if (!ring) throw new MinidError("not_ready", "no stage is loaded");
    return ring;
  }

  /** At once: what is under way fails with the reason. The promise waits only for the link to say goodbye. */
  #retire(reason: MinidError): Promise<void> {
    const ring = this.#ring;
    this.#ring = undefined;
    return (ring?.head ?? ring?.member)?.abandon(reason) ?? Promise.resolve();
  }
}

const superseded = (old: Load, by: Load | undefined): MinidError =>
  new MinidError("stale_epoch", `${termText(old.term)} was superseded${by ? ` by ${termText(by.term)}` : ""}`);

const samePlace = (a: Load, b: Load): boolean =>
  sameTerm(a.term, b.term) && a.rank === b.rank && a.worldSize === b.worldSize && a.nextAddress === b.nextAddress && a.nextName === b.nextName;
