/**
 * What an independent implementation computes from a checkpoint, as `reference.safetensors` beside it: the truth of `minid verify`.
 * And the one definition of how far two computations are apart.
 */
import { join } from "node:path";
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import { TensorFiles } from "./checkpoint.js";
import { widenToFloat32 } from "./dequantize.js";
import { readSafetensorsHeader } from "./safetensors.js";
import type { ModelSpec } from "./spec.js";
import type { TensorDtype, TensorRef } from "./weights.js";

export interface Reference {
  /** [S] token ids. */
  readonly prompt: Int32Array;
  /** [S, vocabSize]: at every position of the prompt. */
  readonly logits: Float32Array;
  /** For each layer [S, hiddenSize]: the hidden state after it, before the final norm. */
  readonly hidden: readonly Float32Array[];
  /** [G] the greedy continuation. */
  readonly greedy: Int32Array;
  /** [G] the best logit minus the second best, at each greedy step. */
  readonly greedyMargin: Float32Array;
}

/** @throws MinidError model_unreadable | model_corrupt when the file is absent, damaged or of another model. */
export async function readReference(directory: string, spec: ModelSpec): Promise<Reference> {
  const file = join(directory, "reference.safetensors");
  const tensors = await readSafetensorsHeader(file);
  const files = new TensorFiles();
  const find = (name: string, dtype: TensorDtype, shape: readonly (number | undefined)[]): TensorRef => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new MinidError("model_corrupt", `${file}: tensor ${name} is missing: make the reference again`);
    const fits = tensor.shape.length === shape.length && shape.every((dimension, axis) => dimension === undefined || dimension === tensor.shape[axis]);
    if (tensor.dtype !== dtype || !fits) {
      throw new MinidError("model_corrupt", `${file}: tensor ${name} is ${tensor.dtype} [${tensor.shape.join(", ")}], not ${dtype} [${shape.map(dimension => dimension ?? "any").join(", ")}]: it belongs to another model, or make it again`);
    }
    return tensor;
  };
  const floats = async (name: string, shape: readonly (number | undefined)[]): Promise<Float32Array> => widenToFloat32(await files.read(find(name, "F32", shape)), "F32");
  const integers = async (name: string): Promise<Int32Array> => new Int32Array(Uint8Array.from(await files.read(find(name, "I32", [undefined]))).buffer);
  try {
    const prompt = await integers("prompt");
    const greedy = await integers("greedy");
    const hidden: Float32Array[] = [];
    for (let layer = 0; layer < spec.layerCount; layer += 1) hidden.push(await floats(`hidden.${layer}`, [prompt.length, spec.hiddenSize]));
    return {
      prompt,
      logits: await floats("logits", [prompt.length, spec.vocabSize]),
      hidden,
      greedy,
      greedyMargin: await floats("greedy_margin", [greedy.length]),
    };
  } finally {
    await files.close();
  }
}

/**
 * The largest absolute difference, as a share of the largest absolute value of the reference tensor.
 * @returns Infinity where not all values are finite.
 */
export function relativeError(computed: Float32Array, reference: Float32Array): number {
  invariant(computed.length === reference.length, "relativeError: lengths differ");
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < reference.length; i += 1) {
    const off = Math.abs(computed[i]! - reference[i]!);
    if (!Number.isFinite(off)) return Infinity;
    difference = Math.max(difference, off);
    largest = Math.max(largest, Math.abs(reference[i]!));
  }
  return difference === 0 ? 0 : difference / largest;
}

/** Index of the largest value; the first of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
