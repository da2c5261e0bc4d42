/**
 * A worker as the policy sees it, in virtual time: a process that pm2 restarts, answers probes, loads, computes, and fails in every
 * way that a real one does. The world executes the policy's effects and writes down what happened, one line each.
 */
import { type Epoch, millis, type Millis, nodeId } from "../../../../src/core/ids.js";
import type { LoadRequest, Phase, ProbeReply } from "../../../../src/core/worker-protocol.js";
import { tickIntervalMs } from "../../../../src/daemon/supervisor/bounds.js";
import { initialState, step } from "../../../../src/daemon/supervisor/policy.js";
import type { LoadOutcome, SupervisorEffect, SupervisorInput, SupervisorState } from "../../../../src/daemon/supervisor/types.js";

export const probeIntervalMs = 500;
const restartMs = 200;
const bootMs = 300;
const loadMs = 400;
const answerMs = 5;

export const epoch = (counter: number): Epoch => ({ counter, nodeId: nodeId("a".repeat(32)) });

export const request = (planVersion: number, counter = planVersion): LoadRequest => ({
  epoch: epoch(counter), planVersion, modelId: "model", modelDir: "/models/model", rank: 0, worldSize: 1, layerFirst: 0, layerEnd: 30,
  engine: "onnx", numerics: "fast", threads: 0, slots: 16, contextMax: 2048, batchMax: 8, nextAddress: "", nextName: "",
});

interface Process {
  readonly pid: number;
  readonly incarnation: string;
  readonly bornAt: number;
  /** SIGSTOP: alive, and silent. */
  stopped: boolean;
  /** The engine does not return: work in flight, the counter still. */
  hung: boolean;
  /** Computing; the counter rises every `paceMs`. */
  busy: boolean;
  paceMs: number;
  stage: LoadRequest | undefined;
  loading: { readonly request: LoadRequest; readonly id: number; readonly since: number } | undefined;
  epoch: Epoch | undefined;
  failed: string;
  lie: Partial<ProbeReply>;
  moves: number;
  hungForMs: number;
}

export type LoadBehaviour = "loads" | "dies" | "refuses" | "hangs";

export class World {
  now = 0;
  readonly lines: string[] = [];
  readonly effects: { readonly at: number; readonly effect: SupervisorEffect }[] = [];
  state: SupervisorState = initialState(millis(0));
  process: Process | undefined;
  loadBehaviour: LoadBehaviour = "loads";
  /** pm2 brings dead workers back. */
  restarts = true;
  /** The worker's first instructions crash. */
  diesAtBoot = false;
  lagMs = 0;
  #restartAt: number | undefined = 0;
  #pids = 100;
  #answers: { at: number; input: () => SupervisorInput }[] = [];

  log(text: string): void { this.lines.push(`${String(Math.round(this.now)).padStart(7)}  ${text}`); }

  /** Advances virtual time. */
  run(ms: number): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += tickIntervalMs;
      this.#live();
      const due = this.#answers.filter(({ at }) => at <= this.now);
      this.#answers = this.#answers.filter(({ at }) => at > this.now);
      for (const { input } of due) this.input(input());
      this.input({ kind: "tick" });
    }
  }

  runUntil(condition: () => boolean, msMax: number): boolean {
    const end = this.now + msMax;
    while (!condition() && this.now < end) this.run(tickIntervalMs);
    return condition();
  }

  input(input: SupervisorInput): void {
    const { state, effects } = step(this.state, input, millis(this.now), { probeIntervalMs });
    this.state = state;
    for (const effect of effects) this.#execute(effect);
  }

  assign(wanted: LoadRequest | undefined): void {
    this.log(wanted ? `the plan gives stage ${wanted.planVersion} of epoch ${wanted.epoch.counter}` : "the plan gives nothing");
    this.input({ kind: "assigned", request: wanted });
  }

  kill(why: string): void {
    if (!this.process) return;
    this.log(`worker ${this.process.pid} dies (${why})`);
    // The stream of a load breaks with its worker.
    if (this.process.loading) this.#loadEnded(this.process.loading.id, { kind: "lost" });
    this.process = undefined;
    this.#restartAt = this.restarts ? this.now + restartMs : undefined;
  }

  holds(wanted: LoadRequest): boolean {
    const { process, state } = this;
    return process?.stage === wanted && state.reported.healthy && state.reported.loaded?.planVersion === wanted.planVersion;
  }

  kills(): { readonly at: number; readonly effect: Extract<SupervisorEffect, { kind: "kill" }> }[] {
    return this.effects.flatMap(({ at, effect }) => (effect.kind === "kill" ? [{ at, effect }] : []));
  }

  #live(): void {
    if (this.#restartAt !== undefined && this.now >= this.#restartAt && !this.process) {
      this.#restartAt = undefined;
      this.#pids += 1;
      this.process = { pid: this.#pids, incarnation: `i${this.#pids}`, bornAt: this.now, stopped: false, hung: false, busy: false, paceMs: 50, stage: undefined, loading: undefined, epoch: undefined, failed: "", lie: {}, moves: 0, hungForMs: 0 };
    }
    const { process } = this;
    if (!process || process.stopped) return;
    if (this.diesAtBoot && this.now - process.bornAt > bootMs / 2) { this.kill("at boot"); return; }
    if (process.hung) process.hungForMs += tickIntervalMs;
    else if (process.busy || process.loading) process.moves += tickIntervalMs / process.paceMs;
    const { loading } = process;
    if (!loading || this.now - loading.since < loadMs || process.hung) return;
    switch (this.loadBehaviour) {
      case "hangs": process.hung = true; return;
      case "dies": this.kill("native abort while loading"); return;
      case "refuses":
        process.loading = undefined;
        process.failed = "shard 2 is damaged";
        this.#loadEnded(loading.id, { kind: "refused", code: "model_corrupt", message: process.failed, retryable: false });
        return;
      case "loads":
        process.loading = undefined;
        process.stage = loading.request;
        process.failed = "";
        this.#loadEnded(loading.id, { kind: "ready" });
    }
  }

  #loadEnded(id: number, outcome: LoadOutcome): void { this.#answers.push({ at: this.now, input: () => ({ kind: "loadEnded", id, outcome }) }); }

  #execute(effect: SupervisorEffect): void {
    this.effects.push({ at: this.now, effect });
    switch (effect.kind) {
      case "probe": this.#probe(effect.id, effect.timeoutMs); return;
      case "load": this.#load(effect.id, effect.request); return;
      case "cancelLoad": this.log(`  cancel load ${effect.id}`); return;
      case "kill": {
        this.log(`  kill ${effect.process.pid}: ${effect.reason}, ${effect.text}`);
        if (this.process?.pid === effect.process.pid) this.kill("SIGKILL");
        return;
      }
      case "report": {
        const { phase, healthy, loaded, crashLooping, error } = effect.facts;
        this.log(`  report ${phase}${healthy ? "" : ", unhealthy"}${loaded ? `, stage ${loaded.planVersion}` : ""}${crashLooping ? ", crash loop" : ""}${error === "" ? "" : `: ${error}`}`);
        return;
      }
      case "event": {
        const { kind, ...rest } = effect.event;
        this.log(`  event ${kind} ${Object.entries(rest).map(([name, value]) => `${name}=${value}`).join(" ")}`);
      }
    }
  }

  #probe(id: number, timeoutMs: number): void {
    const { process } = this;
    const up = process && this.now - process.bornAt >= bootMs;
    const named = () => (this.process && this.now - this.process.bornAt >= bootMs ? { pid: this.process.pid, incarnation: this.process.incarnation } : undefined);
    if (up && !process.stopped) {
      const reply = this.#reply(process);
      this.#answers.push({ at: this.now + answerMs, input: () => ({ kind: "probed", id, reply, tookMs: answerMs, process: named() }) });
    } else {
      const failsAt = up ? this.now + timeoutMs : this.now + answerMs;
      this.#answers.push({ at: failsAt, input: () => ({ kind: "probeFailed", id, error: up ? "deadline exceeded" : "connection refused", lagMs: this.lagMs, process: named() }) });
    }
  }

  #load(id: number, wanted: LoadRequest): void {
    this.log(`  load ${id}: stage ${wanted.planVersion}`);
    const { process } = this;
    if (!process || process.stopped || this.now - process.bornAt < bootMs) { this.#loadEnded(id, { kind: "lost" }); return; }
    process.epoch = wanted.epoch;
    process.stage = undefined;
    process.failed = "";
    process.loading = { request: wanted, id, since: this.now };
  }

  #reply(process: Process): ProbeReply {
    const stage = process.stage ?? process.loading?.request;
    const phase: Phase = process.loading ? "PHASE_LOADING" : process.failed !== "" ? "PHASE_FAILED" : !process.stage ? "PHASE_EMPTY" : process.busy ? "PHASE_BUSY" : "PHASE_IDLE";
    const moves = Math.floor(process.moves);
    return {
      incarnation: process.incarnation, pid: process.pid, epoch: process.epoch ?? epoch(0), phase, inflight: process.busy ? 1 : 0, stepSeq: moves,
      phaseAgeMs: 0, progressAgeMs: process.hungForMs, loopLagMs: 0, bytesLoaded: process.loading ? 0 : 1000, bytesTotal: 1000,
      stage: stage ? { planVersion: stage.planVersion, modelId: stage.modelId, rank: stage.rank, worldSize: stage.worldSize, layerFirst: stage.layerFirst, layerEnd: stage.layerEnd, engine: "onnx", numerics: "fast", replay: "prefill" } : null,
      errorCode: process.failed === "" ? "" : "model_corrupt", error: process.failed, rssBytes: 1, kvBytes: 0, engine: "fake", stepsTotal: process.stage ? moves : 0, computeSecondsTotal: 0, cpuSecondsTotal: 0, computeCounts: [],
      ...process.lie,
    };
  }
}

export const at = (world: World): Millis => millis(world.now);
