/**
 * A stage's weights in MLX. `mx.load` is lazy: of each file only the tensors that are evaluated here are read.
 * MLX tells the format by a file's extension, which the blobs of a Hugging Face cache lack, so files are opened through a link of our own.
 */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MinidError } from "../../../core/errors.js";
import type { LinearWeights, TensorRef } from "../../../model/weights.js";
import type { MxArray, MxCore, MxDtype } from "./binding.js";
import type { Ops } from "./ops.js";

/** A linear layer ready to be applied. */
export interface Linear {
  /** x [rows, inputs] → [rows, outputs]. */
  apply(x: MxArray): MxArray;
  /** Rows of the matrix itself, float32 or the compute type: [indices.length, inputs]. */
  rows(indices: MxArray): MxArray;
}

export interface LinearOptions {
  readonly compute: MxDtype;
  /** Dequantize at load and multiply in plain matrices. */
  readonly dequantized: boolean;
  /** One row a multiplication, because a BLAS rounds differently with the number of rows. */
  readonly rowByRow: boolean;
}

export class WeightLoader {
  readonly #mx: MxCore;
  readonly #ops: Ops;
  readonly #onBytes: (bytes: number) => void;
  readonly #files = new Map<string, Record<string, MxArray>>();
  readonly #held: MxArray[] = [];
  readonly #linears = new Map<LinearWeights, Linear>();
  #bytes = 0;

  /** @param onBytes called with the size of each tensor read. */
  constructor(mx: MxCore, ops: Ops, onBytes: (bytes: number) => void) {
    this.#mx = mx;
    this.#ops = ops;
    this.#onBytes = onBytes;
  }

  /** Bytes that the loaded arrays hold. */
  get byteLength(): number { return this.#bytes; }

  /** A tensor as it is in the file, or cast. */
  tensor(ref: TensorRef, dtype?: MxDtype): MxArray {
    const stored = this.#file(ref.file)[ref.name];
    if (stored === undefined) throw new MinidError("model_corrupt", `${ref.file}: MLX does not find tensor ${ref.name}: fetch the file again`);
    // A copy even without a cast: the handles of the file are freed as one when loading is done.
    return this.#hold(dtype === undefined ? this.#ops.reshape(stored, ...ref.shape) : this.#ops.cast(stored, dtype), ref.byteLength);
  }

  linear(weights: LinearWeights, options: LinearOptions): Linear {
    const known = this.#linears.get(weights);
    if (known !== undefined) return known;
    const linear = this.#makeLinear(weights, options);
    this.#linears.set(weights, linear);
    return linear;
  }

  /** Closes the files. The arrays that were loaded stay until `dispose`. */
  done(): void {
    for (const tensors of this.#files.values()) for (const array of Object.values(tensors)) this.#ops.free(array);
    this.#files.clear();
  }

  dispose(): void {
    this.done();
    for (const array of this.#held.splice(0)) this.#ops.free(array);
  }

  #makeLinear(weights: LinearWeights, options: LinearOptions): Linear {
    const ops = this.#ops;
    const { compute, rowByRow } = options;
    const bias = weights.bias === undefined ? undefined : this.tensor(weights.bias, compute);
    const withBias = (y: MxArray): MxArray => (bias === undefined ? y : ops.add(y, bias));
    if (weights.kind === "affine" && !options.dequantized) {
      const { groupSize, bits } = weights.quantization;
      const w = this.tensor(weights.weight);
      const scales = this.tensor(weights.scales, compute);
      const biases = this.tensor(weights.biases, compute);
      return {
        apply: x => withBias(ops.quantizedLinear(x, w, scales, biases, groupSize, bits)),
        rows: indices => ops.dequantize(ops.take(w, indices), ops.take(scales, indices), ops.take(biases, indices), groupSize, bits),
      };
    }
    const matrix = weights.kind === "dense" ? this.tensor(weights.weight, compute) : this.#dequantized(weights, compute);
    const multiply = (x: MxArray): MxArray => {
      const rows = x.shape[0]!;
      if (!rowByRow || rows === 1) return ops.linear(x, matrix);
      return ops.concat(Array.from({ length: rows }, (_, row) => ops.linear(ops.slice(x, 0, row, row + 1), matrix)), 0);
    };
    return { apply: x => withBias(multiply(x)), rows: indices => ops.take(matrix, indices) };
  }

  #dequantized(weights: LinearWeights & { readonly kind: "affine" }, compute: MxDtype): MxArray {
    const { groupSize, bits } = weights.quantization;
    const part = (ref: TensorRef, dtype?: MxDtype): MxArray => {
      const stored = this.#file(ref.file)[ref.name];
      if (stored === undefined) throw new MinidError("model_corrupt", `${ref.file}: MLX does not find tensor ${ref.name}: fetch the file again`);
      return dtype === undefined ? stored : this.#ops.cast(stored, dtype);
    };
    const bytes = weights.weight.byteLength + weights.scales.byteLength + weights.biases.byteLength;
    return this.#hold(this.#ops.dequantize(part(weights.weight), part(weights.scales, compute), part(weights.biases, compute), groupSize, bits), bytes);
  }

  #hold(array: MxArray, fileBytes: number): MxArray {
    this.#ops.settle(array);
    this.#held.push(array);
    this.#bytes += array.nbytes;
    this.#onBytes(fileBytes);
    return array;
  }

  #file(file: string): Record<string, MxArray> {
    const known = this.#files.get(file);
    if (known !== undefined) return known;
    const directory = mkdtempSync(join(tmpdir(), "minid-mlx-"));
    try {
      const link = join(directory, "model.safetensors");
      symlinkSync(file, link);
      const tensors = this.#mx.load(link) as Record<string, MxArray>;
      this.#files.set(file, tensors);
      return tensors;
    } catch (thrown) {
      throw new MinidError("engine_failed", `MLX cannot load ${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}: use engine onnx, or fetch the file again`, { cause: thrown });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}
