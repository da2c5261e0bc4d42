/**
 * Numbers as checkpoints store them, widened to float32. Widening f16 and bf16 is exact. Affine dequantization computes
 * scale * q + bias in double precision and rounds once to float32, so its result does not depend on the machine.
 * Little-endian hosts only, as every machine that minid runs on is.
 */
import { invariant } from "../core/invariant.js";
import type { QuantizationSpec } from "./spec.js";
import type { TensorDtype } from "./weights.js";

export type FloatDtype = "F32" | "F16" | "BF16";
export const isFloatDtype = (dtype: TensorDtype): dtype is FloatDtype => dtype === "F32" || dtype === "F16" || dtype === "BF16";

/** `bytes` as 16-bit words, copied only where they are not aligned. */
function words16(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : Uint8Array.from(bytes);
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
}

/** @param bytes a tensor's bytes. @returns its elements as float32, in memory of their own. */
export function widenToFloat32(bytes: Uint8Array, dtype: FloatDtype): Float32Array {
  switch (dtype) {
    case "F32":
      return new Float32Array(Uint8Array.from(bytes).buffer);
    case "BF16": {
      const words = words16(bytes);
      const bits = new Uint32Array(words.length);
      for (let i = 0; i < words.length; i += 1) bits[i] = words[i]! << 16;
      return new Float32Array(bits.buffer);
    }
    case "F16": {
      const words = words16(bytes);
      const bits = new Uint32Array(words.length);
      const floats = new Float32Array(bits.buffer);
      for (let i = 0; i < words.length; i += 1) {
        const word = words[i]!;
        const sign = (word & 0x8000) << 16;
        const exponent = word & 0x7c00;
        if (exponent === 0) floats[i] = (sign === 0 ? 1 : -1) * (word & 0x3ff) * 2 ** -24;
        // 15 is f16's exponent bias, 127 f32's; all ones stay all ones.
        else bits[i] = sign | (((word & 0x7fff) << 13) + ((exponent === 0x7c00 ? 224 : 112) << 23));
      }
      return floats;
    }
    default:
      return dtype satisfies never;
  }
}

/**
 * Rows of an affine-quantized matrix.
 * @param packed rows * inputs * bits / 8 bytes, the elements of a row one after another, at 4 bits the low nibble first.
 * @param scales [rows, inputs / groupSize]. @param biases the same shape.
 * @param out [rows, inputs] float32, overwritten.
 */
export function dequantizeRows(packed: Uint8Array, scales: Float32Array, biases: Float32Array, quantization: QuantizationSpec, out: Float32Array): void {
  const { bits, groupSize } = quantization;
  const groups = scales.length;
  invariant(out.length === groups * groupSize && packed.length === (out.length * bits) / 8 && biases.length === groups, "dequantizeRows: shapes do not agree");
  let at = 0;
  let byte = 0;
  for (let group = 0; group < groups; group += 1) {
    const scale = scales[group]!;
    const bias = biases[group]!;
    const end = at + groupSize;
    if (bits === 8) {
      while (at < end) out[at++] = scale * packed[byte++]! + bias;
    } else {
      while (at < end) {
        const pair = packed[byte++]!;
        out[at++] = scale * (pair & 15) + bias;
        out[at++] = scale * (pair >> 4) + bias;
      }
    }
  }
}
