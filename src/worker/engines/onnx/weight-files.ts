/**
 * The checkpoint's files as read-only maps: a tensor's bytes are reached without a copy, cost only page cache, and the kernel may
 * drop and re-read them as it likes. A file cut short after it was opened ends the process with SIGBUS, which its supervisor handles.
 */
import { statSync } from "node:fs";
import { MinidError } from "../../../core/errors.js";
import { invariant } from "../../../core/invariant.js";
import { dequantizeRows, isFloatDtype, widenToFloat32 } from "../../../model/dequantize.js";
import type { LinearWeights, TensorRef } from "../../../model/weights.js";
import { type Libc, viewBytes } from "./native-memory.js";

/** Touching one byte of each brings a tensor into memory. */
const touchStrideBytes = 4096;

export class WeightFiles {
  readonly #libc: Libc;
  readonly #maps = new Map<string, { readonly address: bigint; readonly byteLength: number }>();

  constructor(libc: Libc) { this.#libc = libc; }

  /** @throws MinidError model_corrupt when the file is shorter than the tensor's extent. */
  address(tensor: TensorRef): bigint {
    let map = this.#maps.get(tensor.file);
    if (map === undefined) {
      const byteLength = statSync(tensor.file).size;
      map = { address: this.#libc.mapFile(tensor.file, byteLength), byteLength };
      this.#maps.set(tensor.file, map);
    }
    if (tensor.offset + tensor.byteLength > map.byteLength) {
      throw new MinidError("model_corrupt", `${tensor.file}: tensor ${tensor.name} ends at byte ${tensor.offset + tensor.byteLength}, the file at ${map.byteLength}: fetch it again`);
    }
    return map.address + BigInt(tensor.offset);
  }

  bytes(tensor: TensorRef): Uint8Array { return new Uint8Array(viewBytes(this.address(tensor), tensor.byteLength)); }

  /** Reads a tensor from disk into the page cache, so that a load's progress is where its time goes. */
  touch(tensor: TensorRef): void {
    const bytes = this.bytes(tensor);
    let sum = 0;
    for (let at = 0; at < bytes.length; at += touchStrideBytes) sum += bytes[at]!;
    invariant(sum >= 0, "bytes are not negative");
  }

  /** Float tensors only. */
  float32(tensor: TensorRef): Float32Array {
    invariant(isFloatDtype(tensor.dtype), `${tensor.name} is a float tensor`);
    return widenToFloat32(this.bytes(tensor), tensor.dtype);
  }

  /** Rows [first, first + count) of a matrix as float32. */
  rows(matrix: LinearWeights, first: number, count: number): Float32Array {
    const [outputs] = matrix.weight.shape;
    invariant(outputs !== undefined && first >= 0 && first + count <= outputs, "rows lie inside the matrix");
    const part = (tensor: TensorRef): TensorRef => {
      const rowBytes = tensor.byteLength / outputs;
      return { ...tensor, offset: tensor.offset + first * rowBytes, byteLength: count * rowBytes };
    };
    if (matrix.kind === "dense") return this.float32(part(matrix.weight));
    const scales = this.float32(part(matrix.scales));
    const out = new Float32Array(scales.length * matrix.quantization.groupSize);
    dequantizeRows(this.bytes(part(matrix.weight)), scales, this.float32(part(matrix.biases)), matrix.quantization, out);
    return out;
  }

  /** What was read no longer counts as this process's memory. */
  release(): void {
    for (const { address, byteLength } of this.#maps.values()) this.#libc.release(address, byteLength);
  }

  close(): void {
    for (const { address, byteLength } of this.#maps.values()) this.#libc.unmap(address, byteLength);
    this.#maps.clear();
  }
}
