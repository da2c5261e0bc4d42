/**
 * One sequence's hidden states as one vector: what an embedding is made of. Rows arrive in the order of their positions, in
 * chunks of any size; each is normed as the model's last norm does (RMS norm, arXiv 1910.07467), and the last one or their mean is kept.
 *
 * Invariant: the result depends on the rows alone, not on how they were chunked: sums are taken row after row, in double precision.
 * It is the same arithmetic for every engine, so it adds no difference of its own. It does not scale to unit length: who cuts
 * dimensions off has to do that afterwards.
 */
import { MinidError } from "../core/errors.js";
import type { Pooling } from "../core/worker-protocol.js";

export interface FinalNorm {
  /** [hiddenSize] */
  readonly weight: Float32Array;
  readonly epsilon: number;
}

export class Pool {
  readonly #pooling: Pooling;
  readonly #norm: FinalNorm;
  readonly #sum: Float64Array;
  /** Rows taken. */
  #rows = 0;
  /** Position after the last row taken. */
  #end = 0;

  constructor(pooling: Pooling, norm: FinalNorm) {
    this.#pooling = pooling;
    this.#norm = norm;
    this.#sum = new Float64Array(norm.weight.length);
  }

  /** @param hidden [rows, hiddenSize] after the last layer. @param end position after them. */
  add(hidden: Float32Array, end: number): void {
    const { weight, epsilon } = this.#norm;
    const size = weight.length;
    for (let at = 0; at < hidden.length; at += size) {
      let squares = 0;
      for (let i = 0; i < size; i += 1) squares += hidden[at + i]! ** 2;
      const scale = 1 / Math.sqrt(squares / size + epsilon);
      for (let i = 0; i < size; i += 1) {
        const value = hidden[at + i]! * scale * weight[i]!;
        this.#sum[i] = this.#pooling === "mean" ? this.#sum[i]! + value : value;
      }
      this.#rows += 1;
    }
    this.#end = end;
  }

  /** @throws MinidError stage_lost when rows of a mean are missing: the sequence was not computed from its beginning. */
  result(): number[] {
    if (this.#pooling === "mean" && this.#rows !== this.#end) {
      throw new MinidError("stage_lost", `an embedding of ${this.#end} rows has ${this.#rows} of them: the sequence is to be computed again`);
    }
    const divisor = this.#pooling === "mean" ? this.#rows : 1;
    return Array.from(this.#sum, (value) => Math.fround(value / divisor));
  }
}
