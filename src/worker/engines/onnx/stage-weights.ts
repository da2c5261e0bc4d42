/** Puts the weights of a stage's layers, and on rank 0 of the head, into a weight table, and says under which names. */
import { setImmediate } from "node:timers/promises";
import { invariant } from "../../../core/invariant.js";
import { headTensors, layerTensors } from "../../../model/stage-tensors.js";
import type { LinearWeights, TensorRef } from "../../../model/weights.js";
import type { Numerics, StageOptions } from "../engine.js";
import type { LayerParts, StageParts } from "./graph-layers.js";
import { type Arithmetic, type Linear, addLinear } from "./linear.js";
import { fillRopeTables } from "../../../model/rope.js";
import type { WeightTable } from "./weight-table.js";

/**
 * `fast` spends its precision where it is cheap and tells most: the attention projections are a quarter of a layer, and with them
 * in `int16` the error of the logits halves (docs/adr/0003-onnxruntime-through-ffi.md).
 */
const arithmetics: Record<Numerics, { readonly attention: Arithmetic; readonly rest: Arithmetic }> = {
  exact: { attention: "float32", rest: "float32" },
  precise: { attention: "int16", rest: "int16" },
  fast: { attention: "int16", rest: "int8" },
};

export interface StageWeights {
  readonly totalBytes: number;
  readonly parts: StageParts;
  readonly head: { readonly norm: string; readonly linear: Linear } | undefined;
}

/** Reports progress as tensors are read. @param onRequantized told the name of each tensor that had to be quantized anew. */
export async function loadStageWeights(table: WeightTable, options: StageOptions, capacity: number, onRequantized: (tensor: string) => void): Promise<StageWeights> {
  const { checkpoint, layers: range, numerics, ownsText } = options;
  const { spec } = checkpoint;
  const chosen = checkpoint.layers.slice(range.first, range.end);
  const textTensors = ownsText ? headTensors(checkpoint) : [];
  const totalBytes = byteSum([...chosen.flatMap(layerTensors), ...textTensors]);
  let loadedBytes = 0;
  const read = async (tensors: readonly TensorRef[]): Promise<void> => {
    for (const tensor of tensors) table.files.touch(tensor);
    loadedBytes += byteSum(tensors);
    options.onProgress?.(loadedBytes, totalBytes);
    await setImmediate();
  };
  const vector = (name: string, tensor: TensorRef): string =>
    table.keep(name, "float32", tensor.shape, (target) => { new Float32Array(target).set(table.files.float32(tensor)); });
  const linear = (name: string, matrices: readonly LinearWeights[], inputs: number, role: "attention" | "rest"): Linear =>
    addLinear(table, name, matrices, inputs, arithmetics[numerics][role], onRequantized);

  const half = spec.headDim / 2;
  const [cos, sin] = [new Float32Array(capacity * half), new Float32Array(capacity * half)];
  fillRopeTables(spec.rope, spec.headDim, cos, sin);
  const rotary = (name: string, values: Float32Array): string => table.keep(name, "float32", [capacity, half], (target) => { new Float32Array(target).set(values); });

  const layers: LayerParts[] = [];
  for (const [index, layer] of chosen.entries()) {
    await read(layerTensors(layer));
    const name = `layer.${index}`;
    layers.push({
      inputNorm: vector(`${name}.input_norm`, layer.inputNorm),
      qkv: linear(`${name}.qkv`, [layer.q, layer.k, layer.v], spec.hiddenSize, "attention"),
      o: linear(`${name}.o`, [layer.o], spec.headCount * spec.headDim, "attention"),
      ...(layer.qNorm && { qNorm: vector(`${name}.q_norm`, layer.qNorm) }),
      ...(layer.kNorm && { kNorm: vector(`${name}.k_norm`, layer.kNorm) }),
      postAttentionNorm: vector(`${name}.post_attention_norm`, layer.postAttentionNorm),
      gateUp: linear(`${name}.gate_up`, [layer.gate, layer.up], spec.hiddenSize, "rest"),
      down: linear(`${name}.down`, [layer.down], spec.intermediateSize, "rest"),
    });
  }
  const parts: StageParts = { spec, layers, cos: rotary("rope.cos", cos), sin: rotary("rope.sin", sin), capacity };
  if (!ownsText) return { totalBytes, parts, head: undefined };
  await read(textTensors);
  invariant(loadedBytes === totalBytes, "every tensor of the stage was read");
  return { totalBytes, parts, head: { norm: vector("final_norm", checkpoint.finalNorm), linear: linear("head", [checkpoint.head], spec.hiddenSize, "rest") } };
}

const byteSum = (tensors: readonly TensorRef[]): number => tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
