/**
 * The way to the next rank: one long-lived Pass stream, opened with the first frame. Failures of single steps come back on it;
 * when the stream breaks, everything sent on it is lost, and the owner is told once. The next frame opens a new one on the same
 * channel, which reconnects with its own backoff; a frame sent while the peer is unreachable fails at once and does not wait.
 */
import type grpc from "@grpc/grpc-js";
import { sleep } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import { fromServiceError } from "../core/rpc-errors.js";
import type { Transport } from "../core/transport.js";
import { rawWorkerClient } from "../core/worker-client.js";
import type { Frame, PassFailure } from "../core/worker-protocol.js";

const connectTimeoutMs = 10_000;
const closeTimeoutMs = 500;

export interface RingLinkOptions {
  readonly address: string;
  /** The DNS name expected in the next worker's certificate. */
  readonly name: string;
  readonly transport: Transport;
  readonly onFailure: (failure: PassFailure) => void;
  /** The stream ended: whatever was sent and has not come round the ring will not come. */
  readonly onBroken: (error: MinidError) => void;
}

export class RingLink {
  readonly #options: RingLinkOptions;
  readonly #client: ReturnType<typeof rawWorkerClient>;
  #call: grpc.ClientDuplexStream<Frame, PassFailure> | undefined;
  #closed = false;

  constructor(options: RingLinkOptions) {
    this.#options = options;
    this.#client = rawWorkerClient(options.address, options.name, options.transport);
    this.#connect();
  }

  send(frame: Frame): void {
    this.#call ??= this.#open();
    this.#call.write(frame);
  }

  /** Ends the stream after what was sent, and the channel. Nothing is reported any more. Resolves when the peer has it all, or seems gone. */
  async close(): Promise<void> {
    this.#closed = true;
    const call = this.#call;
    if (call) {
      const ended = new Promise<void>((resolve) => { call.once("status", () => { resolve(); }); });
      call.end();
      await Promise.race([ended, sleep(closeTimeoutMs, { unref: true })]);
    }
    this.#client.close();
  }

  /** Ahead of need, so that the first frame finds a connection. */
  #connect(): void {
    this.#client.waitForReady(Date.now() + connectTimeoutMs, () => { /* the frame that needs the connection reports its failure */ });
  }

  #open(): grpc.ClientDuplexStream<Frame, PassFailure> {
    const call = this.#client.pass();
    call.on("data", (failure: PassFailure) => { this.#options.onFailure(failure); });
    // Every end of a call has a status; the error event says the same with a stack.
    call.on("error", () => undefined);
    call.on("status", (status: grpc.StatusObject) => {
      if (this.#call === call) this.#call = undefined;
      if (this.#closed) return;
      const cause = fromServiceError(Object.assign(new Error(status.details), status), "stage_lost");
      this.#options.onBroken(new MinidError("stage_lost", `the link to the next rank (${this.#options.address}) broke: ${cause.message}`, { cause }));
      this.#connect();
    });
    return call;
  }
}
