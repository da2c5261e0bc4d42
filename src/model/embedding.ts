/**
 * Token embeddings by lookup, the same for every engine: the matrix stays in memory as the file has it (8-bit SmolLM2: 30 MB) and
 * only the rows asked for become float32.
 */
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import { dequantizeRows, isFloatDtype, widenToFloat32 } from "./dequantize.js";
import type { FloatDtype } from "./dequantize.js";
import { dtypeBytes } from "./safetensors.js";
import type { QuantizationSpec } from "./spec.js";
import type { Checkpoint } from "./weights.js";

type Matrix =
  | { readonly kind: "dense"; readonly bytes: Uint8Array; readonly dtype: FloatDtype }
  | { readonly kind: "affine"; readonly packed: Uint8Array; readonly scales: Float32Array; readonly biases: Float32Array; readonly quantization: QuantizationSpec };

export class Embedding {
  readonly #matrix: Matrix;
  readonly #vocabSize: number;
  readonly #hiddenSize: number;

  constructor(matrix: Matrix, vocabSize: number, hiddenSize: number) {
    this.#matrix = matrix;
    this.#vocabSize = vocabSize;
    this.#hiddenSize = hiddenSize;
  }

  /** Bytes held in memory. */
  get byteLength(): number {
    const matrix = this.#matrix;
    return matrix.kind === "dense" ? matrix.bytes.byteLength : matrix.packed.byteLength + matrix.scales.byteLength + matrix.biases.byteLength;
  }

  /** @returns [tokens.length, hiddenSize] float32. @throws MinidError invalid_value for a token outside the vocabulary. */
  lookup(tokens: Int32Array): Float32Array {
    const hidden = this.#hiddenSize;
    const out = new Float32Array(tokens.length * hidden);
    for (const [row, token] of tokens.entries()) {
      if (token < 0 || token >= this.#vocabSize) throw new MinidError("invalid_value", `token ${token} is outside the model's vocabulary of ${this.#vocabSize}: send token ids below that`);
      this.#row(token, out.subarray(row * hidden, (row + 1) * hidden));
    }
    return out;
  }

  #row(token: number, out: Float32Array): void {
    const matrix = this.#matrix;
    if (matrix.kind === "dense") {
      const rowBytes = out.length * dtypeBytes[matrix.dtype];
      out.set(widenToFloat32(matrix.bytes.subarray(token * rowBytes, (token + 1) * rowBytes), matrix.dtype));
      return;
    }
    const { packed, scales, biases, quantization } = matrix;
    const rowBytes = (out.length * quantization.bits) / 8;
    const groups = out.length / quantization.groupSize;
    dequantizeRows(
      packed.subarray(token * rowBytes, (token + 1) * rowBytes),
      scales.subarray(token * groups, (token + 1) * groups),
      biases.subarray(token * groups, (token + 1) * groups),
      quantization,
      out,
    );
  }
}

/** Reads the embedding matrix. @throws MinidError model_corrupt | model_unreadable */
export async function loadEmbedding(checkpoint: Checkpoint): Promise<Embedding> {
  const { embedding, spec } = checkpoint;
  const { vocabSize, hiddenSize } = spec;
  if (embedding.kind === "dense") {
    const { dtype } = embedding.weight;
    invariant(isFloatDtype(dtype), `${embedding.weight.name} is not a float tensor`);
    return new Embedding({ kind: "dense", bytes: await checkpoint.read(embedding.weight), dtype }, vocabSize, hiddenSize);
  }
  return new Embedding({
    kind: "affine",
    packed: await checkpoint.read(embedding.weight),
    scales: await checkpoint.readFloat32(embedding.scales),
    biases: await checkpoint.readFloat32(embedding.biases),
    quantization: embedding.quantization,
  }, vocabSize, hiddenSize);
}

/** A linear layer's matrix as float32 [outputs * inputs], dequantized. */
export async function readMatrixFloat32(checkpoint: Checkpoint, linear: Checkpoint["head"]): Promise<Float32Array> {
  if (linear.kind === "dense") return checkpoint.readFloat32(linear.weight);
  const packed = await checkpoint.read(linear.weight);
  const out = new Float32Array((packed.byteLength * 8) / linear.quantization.bits);
  dequantizeRows(packed, await checkpoint.readFloat32(linear.scales), await checkpoint.readFloat32(linear.biases), linear.quantization, out);
  return out;
}
