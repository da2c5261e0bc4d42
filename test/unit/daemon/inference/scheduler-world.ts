/** The scheduler with a model ring under it and clients that come back with what they hold when they are cut off. */
import { greedySampling } from "../../../../src/core/worker-protocol.js";
import { type RingPlan, type SchedulerEffect, type SchedulerInput, type SchedulerLimits, type SubmittedRequest, defaultSchedulerLimits } from "../../../../src/daemon/inference/scheduler-types.js";
import { Scheduler } from "../../../../src/daemon/inference/scheduler.js";
import { RingModel, undisturbed } from "./ring-model.js";

export const defaultPlan: RingPlan = { worldSize: 1, slots: 8, kvTokensMax: 4_096, contextMax: 512, batchMax: 4, prefillChunk: 32, engineReplay: "prefill" };

export interface Wish { readonly prompt: readonly number[]; readonly maxTokens: number; readonly seed?: number; readonly stopTokens?: readonly number[]; readonly priority?: "interactive" | "batch"; readonly deadlineAtMs?: number; readonly pooling?: "last" | "mean" }

export interface Client {
  readonly wish: Wish;
  id: number;
  emitted: number[];
  /** `running`, `stop`, `length`, `cancelled`, or the code it failed with. */
  outcome: string;
  cachedPromptTokens: number | undefined;
  embedding?: readonly number[];
  resumes: number;
}

export class SchedulerWorld {
  readonly scheduler: Scheduler;
  readonly clients: Client[] = [];
  readonly effects: SchedulerEffect[] = [];
  now = 0;
  ring: RingModel | undefined;
  #nextId = 1;
  #cutOff: Client[] = [];
  #lost: RingModel | undefined;

  constructor(limits: Partial<SchedulerLimits> = {}) {
    this.scheduler = new Scheduler({ ...defaultSchedulerLimits, mixedPrefillTokens: 16, prefixTokensMin: 4, ...limits });
  }

  /** @param died ranks of the lost ring whose cache is gone; those of another plan are all. */
  ready(plan: Partial<RingPlan> = {}, died: readonly number[] = []): void {
    const next = { ...defaultPlan, ...plan };
    const same = JSON.stringify(next) === JSON.stringify(this.#lost?.plan);
    this.ring = new RingModel(next, same ? this.#lost : undefined, died);
    this.input({ kind: "ready", plan: this.ring.plan });
    const waiting = this.#cutOff;
    this.#cutOff = [];
    for (const client of waiting) this.#send(client);
  }

  /** @param reach of each rank: how many of the steps in flight it has computed. */
  lose(reach: (rank: number) => number = () => 0): void {
    this.ring?.lose(reach);
    this.#lost = this.ring ?? this.#lost;
    this.ring = undefined;
    this.input({ kind: "stepFailed", code: "stage_lost", message: "killed" });
  }

  /** @param emitted what the client holds of the answer already. */
  submit(wish: Wish, emitted: readonly number[] = []): Client {
    const client: Client = { wish, id: 0, emitted: [...emitted], outcome: "running", cachedPromptTokens: undefined, resumes: 0 };
    this.clients.push(client);
    this.#send(client);
    return client;
  }

  cancel(client: Client): void {
    if (client.outcome !== "running") return;
    client.outcome = "cancelled";
    this.#cutOff = this.#cutOff.filter((other) => other !== client);
    this.input({ kind: "cancel", id: client.id });
  }

  /** The oldest step returns. @returns false when none is in flight. */
  turn(elapsedMs = 1): boolean {
    this.now += elapsedMs;
    if (!this.ring || this.ring.inflight === 0) return false;
    const result = this.ring.receive();
    this.input({ kind: "stepResult", ...result });
    return true;
  }

  /** @returns the number of steps until nothing was left to do. */
  drain(turnsMax = 100_000): number {
    let turns = 0;
    while (this.turn()) {
      turns += 1;
      if (turns > turnsMax) throw new Error(`still busy after ${turnsMax} steps`);
    }
    return turns;
  }

  input(input: SchedulerInput): SchedulerEffect[] {
    const effects = this.scheduler.step(input, this.now);
    this.effects.push(...effects);
    for (const effect of effects) {
      if (effect.kind === "sendStep") { this.ring?.send(effect.step); continue; }
      if (effect.kind === "ringLost") { this.#lost = this.ring ?? this.#lost; this.ring = undefined; continue; }
      const client = this.clients.find((candidate) => candidate.id === effect.id);
      if (!client || client.outcome !== "running") {
        if (client?.outcome === "cancelled" || effect.kind === "fail") continue;
        throw new Error(`${effect.kind} for a sequence that is over`);
      }
      switch (effect.kind) {
        case "admitted": client.cachedPromptTokens = effect.cachedPromptTokens; break;
        case "emit":
          if (effect.token.index !== client.emitted.length) throw new Error(`token ${effect.token.index} after ${client.emitted.length} tokens`);
          client.emitted.push(effect.token.token);
          break;
        case "finish":
          client.outcome = effect.reason;
          if (effect.embedding) client.embedding = effect.embedding;
          break;
        default:
          if (effect.code === "stage_lost" || effect.code === "not_ready") { client.resumes += 1; this.#cutOff.push(client); } else client.outcome = effect.code;
      }
    }
    return effects;
  }

  expected(client: Client): number[] {
    const { prompt, maxTokens, seed = 0, stopTokens = [] } = client.wish;
    return undisturbed(prompt, { seed, maxTokens, stopTokens, lengthMax: this.ring?.plan.contextMax ?? defaultPlan.contextMax });
  }

  #send(client: Client): void {
    const { prompt, maxTokens, seed = 0, stopTokens = [], priority, deadlineAtMs, pooling } = client.wish;
    client.id = this.#nextId;
    this.#nextId += 1;
    const request: SubmittedRequest = {
      prompt, maxTokens, stopTokens, emitted: [...client.emitted], sampling: { ...greedySampling, seed },
      ...(priority === undefined ? {} : { priority }), ...(deadlineAtMs === undefined ? {} : { deadlineAtMs }), ...(pooling === undefined ? {} : { pooling }),
    };
    this.input({ kind: "submit", id: client.id, request });
  }
}
