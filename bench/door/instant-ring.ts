/** A ring that computes nothing: rank 0's worker as the scheduler sees it, answering each step after a fixed time with the next token of a text. */
import type { RunHandlers, RunStream, WorkerClient } from "../../src/core/worker-client.js";
import type { Sampled, Step } from "../../src/core/worker-protocol.js";

export class InstantRing implements Pick<WorkerClient, "run"> {
  readonly #tokens: readonly number[];
  readonly #stepMs: number;

  /** @param tokens said over and over. @param stepMs what a step takes; 0: the next turn of the event loop. */
  constructor(tokens: readonly number[], stepMs: number) {
    this.#tokens = tokens;
    this.#stepMs = stepMs;
  }

  run(handlers: RunHandlers): RunStream {
    let open = true;
    const answer = (step: Step) => {
      if (!open) return;
      const sampled = step.spans.filter(({ sample }) => sample).map((span): Sampled => ({ slot: span.slot, token: this.#tokens[(span.position + span.rows) % this.#tokens.length]!, logprob: 0, top: [] }));
      handlers.onResult({ stepSeq: step.stepSeq, sampled, errorCode: "", error: "", computeMs: 0, ringMs: 0, times: [] });
    };
    return {
      send: (step) => { if (this.#stepMs === 0) setImmediate(answer, step); else setTimeout(answer, this.#stepMs, step); },
      close: () => { open = false; },
      cancel: () => { open = false; },
    };
  }
}
