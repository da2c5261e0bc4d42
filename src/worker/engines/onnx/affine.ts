/**
 * MLX's affine groups (w = scale * q + bias) as MatMulNBits takes them (w = scale * (q - zero), zero an unsigned integer).
 * MLX quantizes so that -bias/scale is an integer up to the rounding of its half-precision scale and bias; checkpoints converted
 * from elsewhere need not, so every tensor is looked at. Pure arithmetic on arrays.
 */
import { invariant } from "../../../core/invariant.js";

export interface ZeroPoints {
  /** One a group, not packed. */
  readonly zeros: Uint8Array;
  /** Largest error of a weight that the rounding of zeros can cause, in quantization steps. */
  readonly worstSteps: number;
  /** Mean of that error over the groups. */
  readonly meanSteps: number;
}

/** @param scales one a group. @param biases the same length. */
export function zeroPointsOf(scales: Float32Array, biases: Float32Array, bits: 4 | 8): ZeroPoints {
  const top = 2 ** bits - 1;
  const zeros = new Uint8Array(scales.length);
  let worst = 0;
  let sum = 0;
  for (let group = 0; group < scales.length; group += 1) {
    const scale = scales[group]!;
    const bias = biases[group]!;
    // A group of one value has scale 0: then the bias is all there is, and no zero point says it.
    const ideal = scale === 0 ? (bias === 0 ? 0 : Number.POSITIVE_INFINITY) : -bias / scale;
    const zero = Math.min(top, Math.max(0, Math.round(ideal)));
    zeros[group] = zero;
    const off = Math.abs(ideal - zero);
    if (off > worst) worst = off;
    sum += off;
  }
  return { zeros, worstSteps: worst, meanSteps: scales.length === 0 ? 0 : sum / scales.length };
}

/** Bytes of one row's zero points: at 4 bits two a byte, low nibble first, each row on a byte of its own. */
export const zeroPointRowBytes = (groupsPerRow: number, bits: 4 | 8): number => Math.ceil((groupsPerRow * bits) / 8);

export function packZeroPoints(zeros: Uint8Array, groupsPerRow: number, bits: 4 | 8, out: Uint8Array): void {
  if (bits === 8) { out.set(zeros); return; }
  const rowBytes = zeroPointRowBytes(groupsPerRow, bits);
  invariant(out.length === (zeros.length / groupsPerRow) * rowBytes, "packZeroPoints: shapes do not agree");
  out.fill(0);
  for (let group = 0; group < zeros.length; group += 1) {
    const row = Math.floor(group / groupsPerRow);
    const column = group % groupsPerRow;
    out[row * rowBytes + (column >> 1)]! |= zeros[group]! << (column % 2 === 0 ? 0 : 4);
  }
}

/**
 * What the integer zero points leave out: bias + zero * scale for each group, transposed, so that
 * (sums of x over each group) x correction restores the checkpoint's own bias exactly.
 * @param out [groupsPerRow, columns]: this matrix's rows become the columns [firstColumn, ...) of it.
 */
export function writeCorrection(scales: Float32Array, biases: Float32Array, zeros: Uint8Array, groupsPerRow: number, out: Float32Array, columns: number, firstColumn: number): void {
  for (let group = 0; group < zeros.length; group += 1) {
    const row = Math.floor(group / groupsPerRow);
    out[(group % groupsPerRow) * columns + firstColumn + row] = biases[group]! + zeros[group]! * scales[group]!;
  }
}

/** 8-bit groups with a zero point inside the range, for weights whose own groups have none. */
export interface RequantizedGroups { readonly scales: Float32Array; readonly zeros: Uint8Array }

/** Chooses scale and zero point so that each group's range, stretched to hold 0, is covered. @param weights [groups * groupSize]. */
export function requantizedGroups(weights: Float32Array, groupSize: number): RequantizedGroups {
  const groups = weights.length / groupSize;
  const scales = new Float32Array(groups);
  const zeros = new Uint8Array(groups);
  for (let group = 0; group < groups; group += 1) {
    let low = 0;
    let high = 0;
    for (let i = group * groupSize; i < (group + 1) * groupSize; i += 1) {
      const weight = weights[i]!;
      if (weight < low) low = weight;
      if (weight > high) high = weight;
    }
    const scale = Math.fround((high - low) / 255);
    scales[group] = scale;
    zeros[group] = scale === 0 ? 0 : Math.min(255, Math.max(0, Math.round(-low / scale)));
  }
  return { scales, zeros };
}

/** The 8-bit codes of `weights` under `groups`. @param out one byte a weight. */
export function quantizeRows(weights: Float32Array, groups: RequantizedGroups, groupSize: number, out: Uint8Array): void {
  for (let i = 0; i < weights.length; i += 1) {
    const group = Math.floor(i / groupSize);
    const scale = groups.scales[group]!;
    const code = scale === 0 ? 0 : Math.round(weights[i]! / scale) + groups.zeros[group]!;
    out[i] = Math.min(255, Math.max(0, code));
  }
}
