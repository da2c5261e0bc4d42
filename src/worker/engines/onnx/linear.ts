/**
 * One or several linear layers of the same input as one: q, k and v become one matrix, gate and up another, so that a step streams
 * long rows and starts few operators. Parts of unlike quantization stay pieces whose outputs are joined.
 *
 * Three arithmetics. `float32`: dequantized weights. `int8`: MLX's own packed bytes with an integer zero point, activations of 8 bits;
 * a tensor whose zero points do not round well is quantized anew at 8 bits. `int16`: the same bytes, activations of about 16 bits, and a
 * correction that restores the checkpoint's bias exactly. Unquantized matrices are float32 whatever was asked for.
 */
import { invariant } from "../../../core/invariant.js";
import type { LinearWeights } from "../../../model/weights.js";
import { packZeroPoints, quantizeRows, requantizedGroups, writeCorrection, zeroPointRowBytes, zeroPointsOf } from "./affine.js";
import type { WeightTable } from "./weight-table.js";

/** A weight may be off by this many steps in the worst group, and by this many on average, before its tensor is quantized anew. */
const roundingLimits = { 4: { worst: 0.51, mean: 0.1 }, 8: { worst: 0.51, mean: 0.51 } } as const;
/**
 * Activations are quantized in blocks of at most this many: a weight group of 64 is given as two of 32 with the same scale, for 6 % more
 * memory, no more time and a seventh less error (blocks of 16 would leave the integer kernels).
 */
const activationBlock = 32;
/** Rows dequantized at a time: bounds the temporary copy. */
const rowsAtOnce = 1024;

export type Arithmetic = "float32" | "int8" | "int16";

export type Piece =
  | { readonly kind: "float"; readonly outputs: number; readonly weight: string }
  | {
      readonly kind: "blocks";
      readonly outputs: number;
      readonly bits: 4 | 8;
      readonly groupSize: number;
      readonly weight: string;
      readonly scales: string;
      readonly zeros: string;
      /** [groups, outputs] float32; only in `int16`. */
      readonly correction?: string;
    };

/** A graph's view of a linear layer: names of initializers in the weight table. */
export interface Linear {
  readonly inputs: number;
  readonly outputs: number;
  readonly pieces: readonly Piece[];
  /** [outputs] float32. */
  readonly bias?: string;
}

interface BlocksPart {
  readonly kind: "blocks";
  readonly matrix: LinearWeights & { readonly kind: "affine" };
  readonly outputs: number;
  readonly bits: 4 | 8;
  readonly groupSize: number;
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  /** Present where the correction is wanted. */
  readonly biases?: Float32Array;
  /** The codes are computed, not the file's. */
  readonly requantized: boolean;
}
type Part = { readonly kind: "float"; readonly matrix: LinearWeights; readonly outputs: number } | BlocksPart;

/** @param name unique in the table. @param onRequantized told the name of each tensor that had to be quantized anew. */
export function addLinear(table: WeightTable, name: string, matrices: readonly LinearWeights[], inputs: number, arithmetic: Arithmetic, onRequantized: (tensor: string) => void): Linear {
  const parts = matrices.map((matrix) => planPart(table, matrix, inputs, arithmetic, onRequantized));
  const pieces: Piece[] = [];
  for (let first = 0; first < parts.length;) {
    let end = first + 1;
    while (end < parts.length && alike(parts[first]!, parts[end]!)) end += 1;
    pieces.push(addPiece(table, `${name}.${pieces.length}`, parts.slice(first, end), inputs));
    first = end;
  }
  const outputs = parts.reduce((sum, part) => sum + part.outputs, 0);
  if (matrices.every((matrix) => matrix.bias === undefined)) return { inputs, outputs, pieces };
  const bias = table.keep(`${name}.bias`, "float32", [outputs], (target) => {
    const all = new Float32Array(target);
    let at = 0;
    matrices.forEach((matrix, index) => {
      if (matrix.bias) all.set(table.files.float32(matrix.bias), at);
      at += parts[index]!.outputs;
    });
  });
  return { inputs, outputs, pieces, bias };
}

function alike(a: Part, b: Part): boolean {
  if (a.kind === "float" || b.kind === "float") return a.kind === b.kind;
  return a.bits === b.bits && a.groupSize === b.groupSize;
}

function planPart(table: WeightTable, matrix: LinearWeights, inputs: number, arithmetic: Arithmetic, onRequantized: (tensor: string) => void): Part {
  const [outputs] = matrix.weight.shape;
  invariant(outputs !== undefined, "a matrix has rows");
  if (matrix.kind === "dense" || arithmetic === "float32") return { kind: "float", matrix, outputs };
  const { bits, groupSize } = matrix.quantization;
  const scales = table.files.float32(matrix.scales);
  const biases = table.files.float32(matrix.biases);
  const { zeros, worstSteps, meanSteps } = zeroPointsOf(scales, biases, bits);
  const own = { kind: "blocks", matrix, outputs, bits, groupSize, scales, zeros, requantized: false } as const;
  if (arithmetic === "int16") return inBlocks({ ...own, biases });
  const limits = roundingLimits[bits];
  if (worstSteps <= limits.worst && meanSteps <= limits.mean) return inBlocks(own);
  onRequantized(matrix.weight.name);
  const anew = { scales: new Float32Array(scales.length), zeros: new Uint8Array(scales.length) };
  forRows(table, matrix, (weights, firstRow) => {
    const groups = requantizedGroups(weights, groupSize);
    anew.scales.set(groups.scales, (firstRow * inputs) / groupSize);
    anew.zeros.set(groups.zeros, (firstRow * inputs) / groupSize);
  });
  return inBlocks({ ...own, ...anew, bits: 8, requantized: true });
}

/** The same weights in groups no larger than the activations' blocks. */
function inBlocks(part: BlocksPart): BlocksPart {
  const factor = Math.max(1, part.groupSize / activationBlock);
  if (factor === 1) return part;
  const scales = repeated(part.scales, new Float32Array(part.scales.length * factor), factor);
  const zeros = repeated(part.zeros, new Uint8Array(part.zeros.length * factor), factor);
  const biases = part.biases && repeated(part.biases, new Float32Array(part.biases.length * factor), factor);
  return { ...part, scales, zeros, ...(biases && { biases }), groupSize: part.groupSize / factor };
}

/** Each value `factor` times, one after another. */
function repeated<A extends Float32Array | Uint8Array>(values: A, out: A, factor: number): A {
  let at = 0;
  for (let index = 0; index < values.length; index += 1) for (let copy = 0; copy < factor; copy += 1) out[at++] = values[index]!;
  return out;
}

function addPiece(table: WeightTable, name: string, parts: readonly Part[], inputs: number): Piece {
  const outputs = parts.reduce((sum, part) => sum + part.outputs, 0);
  const blocks = parts.filter((part) => part.kind === "blocks");
  const [first] = blocks;
  if (first === undefined) return { kind: "float", outputs, weight: addFloatWeight(table, `${name}.weight`, parts, outputs, inputs) };
  const { bits, groupSize } = first;
  const groups = inputs / groupSize;
  const rowBytes = (inputs * bits) / 8;
  const zeroBytes = zeroPointRowBytes(groups, bits);
  const shape = [outputs, groups, (groupSize * bits) / 8];
  const weight = blocks.length === 1 && !first.requantized
    ? table.borrow(`${name}.weight`, "uint8", shape, first.matrix.weight)
    : table.rebuild(`${name}.weight`, "uint8", shape, (target) => {
        eachRowRange(blocks, (part, firstRow) => { writeCodes(table, part, new Uint8Array(target, firstRow * rowBytes, part.outputs * rowBytes), inputs); });
      });
  const scales = table.keep(`${name}.scales`, "float32", [outputs * groups], (target) => {
    eachRowRange(blocks, (part, firstRow) => { new Float32Array(target).set(part.scales, firstRow * groups); });
  });
  const zeros = table.keep(`${name}.zeros`, "uint8", [outputs * zeroBytes], (target) => {
    eachRowRange(blocks, (part, firstRow) => { packZeroPoints(part.zeros, groups, bits, new Uint8Array(target, firstRow * zeroBytes, part.outputs * zeroBytes)); });
  });
  const piece = { kind: "blocks", outputs, bits, groupSize, weight, scales, zeros } as const;
  if (first.biases === undefined) return piece;
  const correction = table.keep(`${name}.correction`, "float32", [groups, outputs], (target) => {
    eachRowRange(blocks, (part, firstRow) => {
      invariant(part.biases, "parts of one piece have the same arithmetic");
      writeCorrection(part.scales, part.biases, part.zeros, groups, new Float32Array(target), outputs, firstRow);
    });
  });
  return { ...piece, correction };
}

function addFloatWeight(table: WeightTable, name: string, parts: readonly Part[], outputs: number, inputs: number): string {
  const [only] = parts;
  const shape = [outputs, inputs];
  if (parts.length === 1 && only?.matrix.kind === "dense" && only.matrix.weight.dtype === "F32") return table.borrow(name, "float32", shape, only.matrix.weight);
  return table.rebuild(name, "float32", shape, (target) => {
    const all = new Float32Array(target);
    eachRowRange(parts, (part, partRow) => {
      forRows(table, part.matrix, (weights, row) => { all.set(weights, (partRow + row) * inputs); });
    });
  });
}

function writeCodes(table: WeightTable, part: BlocksPart, target: Uint8Array, inputs: number): void {
  if (!part.requantized) { target.set(table.files.bytes(part.matrix.weight)); return; }
  forRows(table, part.matrix, (weights, firstRow) => {
    const firstGroup = (firstRow * inputs) / part.groupSize;
    const groups = weights.length / part.groupSize;
    const own = { scales: part.scales.subarray(firstGroup, firstGroup + groups), zeros: part.zeros.subarray(firstGroup, firstGroup + groups) };
    quantizeRows(weights, own, part.groupSize, target.subarray(firstRow * inputs, firstRow * inputs + weights.length));
  });
}

function eachRowRange<P extends Part>(parts: readonly P[], visit: (part: P, firstRow: number) => void): void {
  let row = 0;
  for (const part of parts) {
    visit(part, row);
    row += part.outputs;
  }
}

function forRows(table: WeightTable, matrix: LinearWeights, visit: (weights: Float32Array, firstRow: number) => void): void {
  const [outputs] = matrix.weight.shape;
  invariant(outputs !== undefined, "a matrix has rows");
  for (let row = 0; row < outputs; row += rowsAtOnce) visit(table.files.rows(matrix, row, Math.min(rowsAtOnce, outputs - row)), row);
}
