/** `Generator` of the front door: carries an answer over every change of leader, ring and worker. Executes `resume.ts`. */
import { type Clock, sleep } from "../../core/clock.js";
import { MinidError, toMinidError } from "../../core/errors.js";
import { InvariantViolation, invariant, unreachable } from "../../core/invariant.js";
import type { GenerateEvent, GenerateRequest, Generator } from "./generate.js";
import { type Recovery, type ResumeEffect, type ResumeInput, ResumableAnswer } from "./resume.js";

export interface LeaderSource {
  /**
   * The generator of a leader whose ring is ready, as soon as there is one: at once when this node knows no better.
   * @throws only when the signal is aborted.
   */
  ready(signal: AbortSignal): Promise<Generator>;
  /** What the cluster lacks now; undefined when it is ready. Told to a request whose deadline passes. */
  whyNotReady(): MinidError | undefined;
}

export interface ResumingGeneratorOptions {
  readonly leaders: LeaderSource;
  readonly clock: Clock;
  /** For `minid_recovery_seconds`, `minid_resumed_requests_total`, `minid_replayed_tokens_total` and the log. */
  readonly onRecovered?: (recovery: Recovery, requestId: string) => void;
}

type Activity = Extract<ResumeEffect, { kind: "findLeader" | "call" }>;

export class ResumingGenerator implements Generator {
  readonly #options: ResumingGeneratorOptions;

  constructor(options: ResumingGeneratorOptions) { this.#options = options; }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const { clock, leaders } = this.#options;
    const answer = new ResumableAnswer(request, clock.now());
    /** Aborted when the client goes away and when the deadline passes. */
    const stop = new AbortController();
    const onStop = (): void => { stop.abort(); };
    signal.addEventListener("abort", onStop, { once: true });
    const deadline = request.deadlineMs === undefined ? undefined : setTimeout(onStop, request.deadlineMs);
    if (signal.aborted) stop.abort();
    let leader: Generator | undefined;
    try {
      let effects = answer.step({ kind: "start" }, clock.now());
      for (;;) {
        const activity = activityOf(effects);
        invariant(activity, `request ${request.requestId} came to a halt`);
        for await (const input of this.#carryOut(activity, leader, stop.signal)) {
          if (signal.aborted) throw new MinidError("cancelled", "The request was cancelled: the client went away.");
          if (input.kind === "found") leader = input.leader;
          const late = stop.signal.aborted && input.kind !== "event";
          effects = answer.step(late ? { kind: "deadline", why: leaders.whyNotReady() } : input.kind === "found" ? { kind: "leader" } : input, clock.now());
          for (const effect of effects) {
            switch (effect.kind) {
              case "deliver":
                yield effect.event;
                if (effect.event.kind === "finished") return;
                break;
              case "recovered": this.#options.onRecovered?.(effect.recovery, request.clientRequestId ?? request.requestId); break;
              case "fail": throw effect.error;
              case "findLeader":
              case "call": break;
              default: unreachable(effect);
            }
          }
        }
      }
    } finally {
      clearTimeout(deadline);
      signal.removeEventListener("abort", onStop);
    }
  }

  /** Ends after the first input that is not an event of the call. */
  async *#carryOut(activity: Activity, leader: Generator | undefined, stop: AbortSignal): AsyncGenerator<ResumeInput | { readonly kind: "found"; readonly leader: Generator }, void, undefined> {
    if (activity.kind === "findLeader") {
      let found: Generator;
      try {
        if (activity.delayMs > 0) await sleep(activity.delayMs, { signal: stop });
        found = await this.#options.leaders.ready(stop);
      } catch (error) {
        if (!stop.aborted) throw error;
        yield { kind: "deadline", why: this.#options.leaders.whyNotReady() };
        return;
      }
      yield { kind: "found", leader: found };
      return;
    }
    const { attempt, request } = activity;
    invariant(leader, "a call before a leader was found");
    let failure: MinidError;
    try {
      for await (const event of leader.generate(request, stop)) yield { kind: "event", attempt, event };
      failure = new MinidError("stage_lost", "The leader ended the stream before the answer was complete.");
    } catch (error) {
      if (error instanceof InvariantViolation) throw error;
      failure = toMinidError(error);
    }
    yield { kind: "failed", attempt, error: failure };
  }
}

function activityOf(effects: readonly ResumeEffect[]): Activity | undefined {
  return effects.find((effect): effect is Activity => effect.kind === "findLeader" || effect.kind === "call");
}
