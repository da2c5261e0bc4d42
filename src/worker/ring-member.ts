/**
 * The part of a rank above 0 in a plan: takes a frame from the rank before, runs its layers, hands the result on. A step that
 * fails here, or further on, is reported backwards on the stream it came from; a broken link breaks that stream too, so that the
 * break travels back to rank 0 however long the ring is. Frames of an earlier run, or behind one that is missing, are refused.
 */
import { type MinidError, toMinidError } from "../core/errors.js";
import type { Frame, PassFailure } from "../core/worker-protocol.js";
import { sealed, unsealed } from "./activations.js";
import type { EngineHost } from "./engine-host.js";
import type { RingLink } from "./ring-link.js";
import { RunOrder } from "./run-order.js";

/** The stream on which the rank before sends. */
export interface Upstream {
  fail(failure: PassFailure): void;
  /** Ends the stream with the error. */
  end(error: MinidError): void;
}

export interface RingMemberOptions {
  readonly host: EngineHost;
  readonly rank: number;
  /** True on the last rank, which returns only the rows to be sampled. */
  readonly last: boolean;
  readonly link: RingLink;
}

export class RingMember {
  readonly #options: RingMemberOptions;
  readonly #accepting = new Set<Promise<void>>();
  readonly #order = new RunOrder();
  #upstream: Upstream | undefined;

  constructor(options: RingMemberOptions) { this.#options = options; }

  /** Resolves when the frame was passed on, or its failure was reported. */
  async accept(frame: Frame, upstream: Upstream): Promise<void> {
    this.#upstream = upstream;
    const accepting = this.#process(frame, upstream);
    this.#accepting.add(accepting);
    await accepting;
    this.#accepting.delete(accepting);
  }

  /** Resolves when every frame accepted so far was passed on. */
  async empty(): Promise<void> { await Promise.all(this.#accepting); }

  failed(failure: PassFailure): void { this.#upstream?.fail(failure); }

  broken(error: MinidError): void {
    this.#upstream?.end(error);
    this.#upstream = undefined;
  }

  upstreamEnded(upstream: Upstream): void { if (this.#upstream === upstream) this.#upstream = undefined; }

  /** Leaves the ring: what was passed on arrives before the rank before hears of the break, so that no finished step is lost by it. */
  async abandon(error: MinidError): Promise<void> {
    await this.#options.link.close();
    this.broken(error);
  }

  async #process(frame: Frame, upstream: Upstream): Promise<void> {
    const { host, rank, last, link } = this.#options;
    const arrivedAt = performance.now();
    try {
      this.#order.admit(frame);
      const hidden = unsealed(frame);
      const origin = { run: frame.run, ...(frame.place === 1 && { begin: { keep: frame.keep ?? undefined } }) };
      const result = await host.request<"pass">({ kind: "pass", origin, ops: frame.ops, spans: frame.spans, hidden, last }, [hidden.buffer]);
      const times = [...frame.times, { rank, computeMs: result.computeMs, heldMs: performance.now() - arrivedAt }];
      const held = result.held ? [...frame.held ?? [], { rank, slots: result.held }] : frame.held ?? [];
      link.send({ ...frame, ...sealed(result.hidden), times, held, faults: [...frame.faults ?? [], ...result.faults] });
    } catch (error) {
      const { code, message } = toMinidError(error);
      upstream.fail({ stepSeq: frame.stepSeq, errorCode: code, error: `rank ${rank}: ${message}`, rank });
    }
  }
}
