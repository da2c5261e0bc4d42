/**
 * Weights by reference: where each tensor's bytes lie on disk. Nothing here is read until an engine asks, so a stage touches
 * only its own layers. Names are the checkpoint's, shapes row-major, linear weights are [outputs, inputs].
 */
import type { ModelSpec, QuantizationSpec } from "./spec.js";

export type TensorDtype = "F32" | "F16" | "BF16" | "U32" | "I32" | "U8" | "I8" | "I64" | "F64" | "BOOL" | "U16" | "I16" | "U64";

/** One tensor's place: bytes [offset, offset + byteLength) of `file` (an absolute real path), little-endian. */
export interface TensorRef {
  readonly name: string;
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
}

/** A matrix [outputs, inputs] with an optional bias [outputs]. */
export type LinearWeights =
  | { readonly kind: "dense"; readonly weight: TensorRef; readonly bias?: TensorRef }
  | {
      readonly kind: "affine";
      readonly quantization: QuantizationSpec;
      /** U32 [outputs, inputs * bits / 32]: elements packed low bits first. */
      readonly weight: TensorRef;
      /** F32 | F16 | BF16 [outputs, inputs / groupSize]. */
      readonly scales: TensorRef;
      /** The same shape as `scales`: w = scale * q + bias. */
      readonly biases: TensorRef;
      /** The linear layer's own additive bias, [outputs]. */
      readonly bias?: TensorRef;
    };

export interface LayerWeights {
  readonly inputNorm: TensorRef;
  readonly q: LinearWeights;
  readonly k: LinearWeights;
  readonly v: LinearWeights;
  readonly o: LinearWeights;
  readonly qNorm?: TensorRef;
  readonly kNorm?: TensorRef;
  readonly postAttentionNorm: TensorRef;
  readonly gate: LinearWeights;
  readonly up: LinearWeights;
  readonly down: LinearWeights;
}

/** A checkpoint on disk that has been checked: every tensor that the spec calls for is there with the right shape, dtype and extent. */
export interface Checkpoint {
  /** Absolute real path of the model's directory. */
  readonly directory: string;
  readonly spec: ModelSpec;
  /** [vocabSize, hiddenSize], used for the lookup of token embeddings. */
  readonly embedding: LinearWeights;
  readonly finalNorm: TensorRef;
  /** [vocabSize, hiddenSize]; the same object as `embedding` when tied. */
  readonly head: LinearWeights;
  readonly layers: readonly LayerWeights[];
  /** Reads one tensor's bytes. @throws MinidError model_corrupt when the file is shorter than it was. */
  read(tensor: TensorRef): Promise<Buffer>;
  /** Reads one tensor and widens it to float32 (F32, F16, BF16 only). */
  readFloat32(tensor: TensorRef): Promise<Float32Array>;
  close(): Promise<void>;
}
