/** A checkpoint in the numbers that planning needs, read from its headers alone. */
import { kvBytesPerTokenLayer } from "../model/spec.js";
import type { Checkpoint, LayerWeights, LinearWeights, TensorRef } from "../model/weights.js";
import type { ModelShape } from "./planner/plan.js";

const linearBytes = (linear: LinearWeights): number => {
  const own = linear.kind === "dense" ? linear.weight.byteLength : linear.weight.byteLength + linear.scales.byteLength + linear.biases.byteLength;
  return own + (linear.bias?.byteLength ?? 0);
};

const normBytes = (...norms: (TensorRef | undefined)[]): number => norms.reduce((sum, norm) => sum + (norm?.byteLength ?? 0), 0);

const layerBytes = (layer: LayerWeights): number =>
  [layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down].reduce((sum, linear) => sum + linearBytes(linear), 0)
  + normBytes(layer.inputNorm, layer.postAttentionNorm, layer.qNorm, layer.kNorm);

export function modelShape(modelId: string, checkpoint: Checkpoint): ModelShape {
  const { spec } = checkpoint;
  return {
    modelId,
    layerCount: spec.layerCount,
    layerBytes: checkpoint.layers.reduce((most, layer) => Math.max(most, layerBytes(layer)), 0),
    embedBytes: linearBytes(checkpoint.embedding),
    headBytes: linearBytes(checkpoint.head),
    tied: spec.tiedEmbeddings,
    kvBytesPerTokenLayer: kvBytesPerTokenLayer(spec),
    contextMax: spec.maxPositions,
  };
}
