/** Which tensors a stage reads: those of its layers, and on rank 0 the embedding, the final norm and the head. */
import type { LayerRange } from "./spec.js";
import type { Checkpoint, LayerWeights, LinearWeights, TensorRef } from "./weights.js";

export function layerTensors(layer: LayerWeights): readonly TensorRef[] {
  const vectors = [layer.inputNorm, layer.qNorm, layer.kNorm, layer.postAttentionNorm].filter((tensor) => tensor !== undefined);
  return [...vectors, ...[layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down].flatMap(linearTensors)];
}

export function linearTensors(linear: LinearWeights): readonly TensorRef[] {
  const own = linear.kind === "affine" ? [linear.weight, linear.scales, linear.biases] : [linear.weight];
  return linear.bias ? [...own, linear.bias] : own;
}

export const headTensors = ({ finalNorm, head }: Checkpoint): readonly TensorRef[] => [finalNorm, ...linearTensors(head)];

/** Each once. */
export function stageTensors(checkpoint: Checkpoint, layers: LayerRange, ownsText: boolean): readonly TensorRef[] {
  const { embedding, head } = checkpoint;
  const text = ownsText ? [...headTensors(checkpoint), ...(embedding === head ? [] : linearTensors(embedding))] : [];
  return [...checkpoint.layers.slice(layers.first, layers.end).flatMap(layerTensors), ...text];
}

export const allTensors = (checkpoint: Checkpoint): readonly TensorRef[] => stageTensors(checkpoint, { first: 0, end: checkpoint.layers.length }, true);
