/** Looks tensors up by name and checks them against what the spec calls for: presence, dtype and shape. */
import { join } from "node:path";
import { MinidError } from "../core/errors.js";
import { isFloatDtype } from "./dequantize.js";
import type { QuantizationTable } from "./quantization.js";
import type { QuantizationSpec } from "./spec.js";
import type { LinearWeights, TensorRef } from "./weights.js";

export class WeightFinder {
  readonly #directory: string;
  readonly #tensors: ReadonlyMap<string, TensorRef>;
  readonly #quantization: QuantizationTable;

  constructor(directory: string, tensors: ReadonlyMap<string, TensorRef>, quantization: QuantizationTable) {
    this.#directory = directory;
    this.#tensors = tensors;
    this.#quantization = quantization;
  }

  /** A float vector [length]. */
  vector(name: string, length: number): TensorRef {
    return this.#float(name, [length]);
  }

  /** @param module the name without `.weight`. @param hasBias whether the spec says that this projection has a bias. */
  linear(module: string, outputs: number, inputs: number, hasBias: boolean): LinearWeights {
    const bias = hasBias ? { bias: this.vector(`${module}.bias`, outputs) } : {};
    const quantization = this.#quantizationOf(module);
    if (quantization === undefined) return { kind: "dense", weight: this.#float(`${module}.weight`, [outputs, inputs]), ...bias };
    if (inputs % quantization.groupSize !== 0) {
      throw new MinidError("model_unsupported", `${join(this.#directory, "config.json")}: ${module} has ${inputs} inputs, not a multiple of its quantization group of ${quantization.groupSize}: choose another quantization of the model`);
    }
    const groups = inputs / quantization.groupSize;
    const weight = this.#get(`${module}.weight`);
    if (weight.dtype !== "U32") throw this.#wrong(weight, `has dtype ${weight.dtype} where ${quantization.bits}-bit packed U32 belongs`);
    this.#checkShape(weight, [outputs, (inputs * quantization.bits) / 32]);
    return { kind: "affine", quantization, weight, scales: this.#float(`${module}.scales`, [outputs, groups]), biases: this.#float(`${module}.biases`, [outputs, groups]), ...bias };
  }

  /** Exceptions first, then whether the file has scales; a packed weight without scales is taken as quantized, so that the scales are what is reported missing. */
  #quantizationOf(module: string): QuantizationSpec | undefined {
    const exception = this.#quantization.overrides.get(module);
    if (exception !== undefined) return exception === false ? undefined : exception;
    const packed = this.#tensors.has(`${module}.scales`) || this.#tensors.get(`${module}.weight`)?.dtype === "U32";
    if (!packed) return undefined;
    if (this.#quantization.byDefault === undefined) {
      throw new MinidError("model_corrupt", `${join(this.#directory, "config.json")} has no quantization, but ${module} is quantized: fetch config.json again`);
    }
    return this.#quantization.byDefault;
  }

  #get(name: string): TensorRef {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw new MinidError("model_corrupt", `${this.#directory}: tensor ${name} is missing from the weights: fetch the model again`);
    return tensor;
  }

  #float(name: string, shape: readonly number[]): TensorRef {
    const tensor = this.#get(name);
    if (!isFloatDtype(tensor.dtype)) throw this.#wrong(tensor, `has dtype ${tensor.dtype} where F32, F16 or BF16 belongs`);
    this.#checkShape(tensor, shape);
    return tensor;
  }

  #checkShape(tensor: TensorRef, shape: readonly number[]): void {
    if (tensor.shape.length === shape.length && tensor.shape.every((dimension, axis) => dimension === shape[axis])) return;
    throw this.#wrong(tensor, `has shape [${tensor.shape.join(", ")}] where config.json calls for [${shape.join(", ")}]`);
  }

  #wrong(tensor: TensorRef, what: string): MinidError {
    return new MinidError("model_corrupt", `${tensor.file}: tensor ${tensor.name} ${what}: fetch the model again`);
  }
}
