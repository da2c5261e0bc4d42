/** A model ring behind the worker client's interface, answering a moment later as a stream would. */
import { MinidError } from "../../../../src/core/errors.js";
import type { RunHandlers, RunStream, WorkerClient } from "../../../../src/core/worker-client.js";
import type { Step } from "../../../../src/core/worker-protocol.js";
import type { RingPlan } from "../../../../src/daemon/inference/scheduler-types.js";
import { RingModel } from "./ring-model.js";

export class FakeWorker implements Pick<WorkerClient, "run"> {
  readonly steps: Step[] = [];
  readonly #plan: RingPlan;
  #handlers: RunHandlers | undefined;
  #ring: RingModel;
  /** While true, steps are taken and not answered. */
  hung = false;
  /** Called before each answer. */
  beforeAnswer: (step: Step) => void = () => undefined;

  constructor(plan: RingPlan) {
    this.#plan = plan;
    this.#ring = new RingModel(plan);
  }

  get held(): number { return this.#ring.held; }

  run(handlers: RunHandlers): RunStream {
    const ring = new RingModel(this.#plan);
    this.#ring = ring;
    this.#handlers = handlers;
    let open = true;
    return {
      send: (step) => {
        if (!open) return;
        this.steps.push(step);
        ring.send(step);
        setImmediate(() => {
          if (!open || this.hung || this.#handlers !== handlers) return;
          this.beforeAnswer(step);
          if (this.#handlers !== handlers) return;
          handlers.onResult({ ...ring.receive(), errorCode: "", error: "", computeMs: 1, ringMs: 0, times: [] });
        });
      },
      close: () => { open = false; },
      cancel: () => { open = false; },
    };
  }

  /** Killed: the stream breaks. */
  kill(): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.onEnd(new MinidError("stage_lost", "connection reset"));
  }
}
