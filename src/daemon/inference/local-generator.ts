/** `Generator` on rank 0 itself: a sequence of the scheduler in the same process. */
import type { Clock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import { type Epoch, compareEpochs, epochZero } from "../../core/ids.js";
import { EventFeed } from "./event-feed.js";
import type { GenerateEvent, GenerateRequest, Generator } from "./generate.js";
import type { RingDriver } from "./ring-driver.js";
import { samplingToWire } from "./sampling-wire.js";
import type { SequenceId, SubmittedRequest } from "./scheduler-types.js";

export class LocalGenerator implements Generator {
  readonly #driver: RingDriver;
  readonly #clock: Clock;
  /** By request id: a front door that was cut off may be back before its first call is known to be dead. */
  readonly #active = new Map<string, { readonly feed: EventFeed; readonly id: SequenceId; readonly claim: Epoch }>();

  constructor(driver: RingDriver, clock: Clock) {
    this.#driver = driver;
    this.#clock = clock;
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    if (signal.aborted) throw cancelled("the caller went away");
    this.#check(request);
    this.#supersede(request);

    const feed = new EventFeed();
    const id = this.#driver.submit(this.#toSubmitted(request), {
      admitted: (cachedPromptTokens) => { feed.event({ kind: "admitted", cachedPromptTokens }); },
      token: (token) => { feed.token(token); },
      finished: (reason, cachedPromptTokens, embedding) => { feed.event({ kind: "finished", reason, cachedPromptTokens, ...(embedding && { embedding }) }); feed.end(); },
      failed: (error) => { feed.end(error); },
      ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
    });
    const entry = { feed, id, claim: request.claim ?? epochZero };
    this.#active.set(request.requestId, entry);
    const abort = (): void => { feed.end(cancelled("the caller went away")); this.#driver.cancel(id); };
    signal.addEventListener("abort", abort, { once: true });
    try {
      yield* feed.read();
    } finally {
      signal.removeEventListener("abort", abort);
      this.#driver.cancel(id);
      if (this.#active.get(request.requestId) === entry) this.#active.delete(request.requestId);
    }
  }

  #check(request: GenerateRequest): void {
    if (request.prompt.length === 0) throw new MinidError("invalid_value", "The prompt has no tokens: it needs at least one.", { param: "prompt" });
    if (request.maxTokens < 1) throw new MinidError("invalid_value", `max_tokens is ${request.maxTokens}: it must be at least 1.`, { param: "max_tokens" });
    const modelId = this.#driver.ring?.modelId;
    if (modelId !== undefined && modelId !== request.modelId) {
      throw new MinidError("model_not_found", `The cluster serves ${modelId}, not ${request.modelId}: ask for that one.`, { param: "model" });
    }
  }

  /** @throws MinidError superseded when the call under way has the better right. */
  #supersede({ requestId, claim = epochZero }: GenerateRequest): void {
    const former = this.#active.get(requestId);
    if (!former) return;
    if (compareEpochs(former.claim, claim) > 0) throw new MinidError("superseded", "Another connection, at another node, took this answer over.");
    former.feed.end(cancelled(`a later call for request ${requestId} took its place`));
    this.#driver.cancel(former.id);
  }

  #toSubmitted(request: GenerateRequest): SubmittedRequest {
    const { prompt, emitted, maxTokens, stopTokens, deadlineMs, priority, pooling, requestId, clientRequestId = requestId } = request;
    return {
      prompt, emitted, maxTokens, stopTokens, requestId: clientRequestId,
      sampling: samplingToWire(request.sampling),
      ...(deadlineMs === undefined ? {} : { deadlineAtMs: this.#clock.now() + deadlineMs }),
      ...(priority === undefined ? {} : { priority }),
      ...(pooling === undefined ? {} : { pooling }),
    };
  }
}

function cancelled(why: string): MinidError {
  return new MinidError("cancelled", `The sequence was cancelled: ${why}.`);
}
