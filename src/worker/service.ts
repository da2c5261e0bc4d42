/**
 * The Worker service: turns calls and streams into calls of `StageControl`, and its answers and errors into messages. Bounds
 * what one stream may have under way by not reading on. Decides nothing else.
 */
import type grpc from "@grpc/grpc-js";
import { MinidError, toMinidError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import { toServiceError } from "../core/rpc-errors.js";
import { type Frame, type LoadProgress, type LoadRequest, type PassFailure, type ProbeReply, type Step, type StepResult, stepsInFlightMax } from "../core/worker-protocol.js";
import type { Upstream } from "./ring-member.js";
import type { StageControl } from "./stage-control.js";

type RunCall = grpc.ServerDuplexStream<Step, StepResult>;
type PassCall = grpc.ServerDuplexStream<Frame, PassFailure>;

export interface WorkerServiceOptions {
  readonly control: StageControl;
  readonly probe: () => ProbeReply;
  readonly log: Log;
}

export class WorkerService {
  readonly #options: WorkerServiceOptions;
  readonly #runs = new Set<RunSession>();
  /** The stream whose steps are accepted: a newer scheduler's takes over. */
  #owner: RunSession | undefined;

  constructor(options: WorkerServiceOptions) { this.#options = options; }

  /** For `grpc.Server.addService`. */
  get handlers(): grpc.UntypedServiceImplementation {
    return {
      probe: (_call: grpc.ServerUnaryCall<object, ProbeReply>, callback: grpc.sendUnaryData<ProbeReply>) => { callback(null, this.#options.probe()); },
      load: (call: grpc.ServerWritableStream<LoadRequest, LoadProgress>) => { this.#load(call); },
      run: (call: RunCall) => { this.#run(call); },
      pass: (call: PassCall) => { this.#pass(call); },
    };
  }

  /** Ends the schedulers' streams: they look for another worker. */
  endRuns(error: MinidError): void { for (const run of Array.from(this.#runs)) run.end(error); }

  #load(call: grpc.ServerWritableStream<LoadRequest, LoadProgress>): void {
    const write = (progress: LoadProgress): void => { if (!call.cancelled) call.write(progress); };
    this.#options.control.load(call.request, write).then(
      (last) => { write(last); call.end(); },
      (error: unknown) => { call.emit("error", toServiceError(error)); },
    ).catch((error: unknown) => { this.#options.log.error({ error: toMinidError(error).message }, "answering a Load failed"); });
  }

  #run(call: RunCall): void {
    const run = new RunSession(call, (step, done) => {
      this.#options.control.submit(run, step, done);
      if (this.#owner === run) return;
      this.#owner?.end(new MinidError("stale_epoch", "another scheduler took over this worker"));
      this.#owner = run;
    });
    this.#runs.add(run);
    run.closed.then(() => {
      this.#runs.delete(run);
      if (this.#owner === run) this.#owner = undefined;
    }, () => undefined);
  }

  #pass(call: PassCall): void {
    const { control, log } = this.#options;
    let open = true;
    let under = 0;
    const upstream: Upstream = {
      fail: (failure) => { if (open) call.write(failure); },
      end: (error) => { if (open) { open = false; call.emit("error", toServiceError(error)); } },
    };
    const finish = (): void => {
      if (!open) return;
      open = false;
      control.upstreamEnded(upstream);
      call.end();
    };
    call.on("data", (frame: Frame) => {
      under += 1;
      if (under >= stepsInFlightMax) call.pause();
      control.frame(frame, upstream)
        .catch((error: unknown) => {
          const { code, message } = toMinidError(error);
          upstream.fail({ stepSeq: frame.stepSeq, errorCode: code, error: message, rank: control.wanted?.rank ?? 0 });
        })
        .finally(() => { under -= 1; call.resume(); })
        .catch((error: unknown) => { log.error({ error: toMinidError(error).message }, "a frame's failure could not be reported"); });
    });
    call.on("end", finish);
    call.on("cancelled", finish);
    call.on("error", finish);
  }
}

/** One scheduler's stream. */
class RunSession {
  readonly closed: Promise<void>;
  readonly #call: RunCall;
  readonly #submit: (step: Step, done: (result: StepResult) => void) => void;
  #open = true;
  #ending = false;
  #unanswered = 0;
  #lastSeq: number | undefined;
  #onClosed: () => void = () => undefined;

  constructor(call: RunCall, submit: (step: Step, done: (result: StepResult) => void) => void) {
    this.#call = call;
    this.#submit = submit;
    this.closed = new Promise((resolve) => { this.#onClosed = resolve; });
    call.on("data", (step: Step) => { this.#step(step); });
    call.on("end", () => { this.#ending = true; this.#endIfDone(); });
    call.on("cancelled", () => { this.#close(); });
    call.on("error", () => { this.#close(); });
  }

  end(error: MinidError): void {
    if (!this.#open) return;
    this.#close();
    this.#call.emit("error", toServiceError(error));
  }

  #step(step: Step): void {
    if (!this.#open) return;
    if (this.#lastSeq !== undefined && step.stepSeq !== this.#lastSeq + 1) {
      this.end(new MinidError("invalid_value", `step ${step.stepSeq} follows step ${this.#lastSeq} on one stream: the numbers rise by one`));
      return;
    }
    this.#lastSeq = step.stepSeq;
    this.#unanswered += 1;
    if (this.#unanswered >= stepsInFlightMax) this.#call.pause();
    try {
      this.#submit(step, (result) => { this.#answer(result); });
    } catch (error) {
      const { code, message } = toMinidError(error);
      this.#answer({ stepSeq: step.stepSeq, sampled: [], errorCode: code, error: message, computeMs: 0, ringMs: 0, times: [] });
    }
  }

  #answer(result: StepResult): void {
    this.#unanswered -= 1;
    if (!this.#open) return;
    this.#call.write(result);
    if (this.#call.isPaused()) this.#call.resume();
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (!this.#open || !this.#ending || this.#unanswered > 0) return;
    this.#close();
    this.#call.end();
  }

  #close(): void {
    this.#open = false;
    this.#onClosed();
  }
}
