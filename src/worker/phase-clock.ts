/** Which phase the worker is in, and since when. A second announcement of the same phase changes nothing. */
import type { Phase } from "../core/worker-protocol.js";

export class PhaseClock {
  readonly #onChange: (phase: Phase) => void;
  #phase: Phase = "PHASE_EMPTY";
  #sinceNs = Number(process.hrtime.bigint());

  constructor(onChange: (phase: Phase) => void) { this.#onChange = onChange; }

  get phase(): Phase { return this.#phase; }
  get sinceNs(): number { return this.#sinceNs; }
  get ageMs(): number { return (Number(process.hrtime.bigint()) - this.#sinceNs) / 1e6; }

  enter(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#sinceNs = Number(process.hrtime.bigint());
    this.#onChange(phase);
  }
}
