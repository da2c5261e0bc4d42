/**
 * MLX's operations with ownership. node-mlx frees an array's memory only when its JavaScript handle is collected *and* the event loop
 * turns, so that one prefill would keep every intermediate of every layer, and a live view of a cache would force a copy of the whole
 * cache at each write. Every array made here is therefore remembered, and `release` gives its memory back at once.
 *
 * The lever: `array.indexPut_(null, scalar)` makes the handle a lazy broadcast of the scalar and drops what it referred to (measured: RSS falls
 * by the array's size within the call). A released handle must not be used again. What remains are ~100 bytes a handle until the loop turns.
 */
import type { MxArray, MxCore, MxDtype } from "./binding.js";

export class Ops {
  readonly #mx: MxCore;
  readonly #nothing: MxArray;
  #made: MxArray[] = [];

  constructor(mx: MxCore) {
    this.#mx = mx;
    this.#nothing = mx.array(0);
  }

  /** Takes an array into care: `release` will free it. */
  track(array: MxArray): MxArray {
    this.#made.push(array);
    return array;
  }

  /** Computes the given arrays, and frees every array made since the last call except these. */
  settle(...kept: MxArray[]): void {
    this.#mx.eval(...kept);
    this.release(...kept);
  }

  /** Frees every array made since the last call except these, which are from now on the caller's to `free`. */
  release(...kept: MxArray[]): void {
    const keep = new Set(kept);
    for (const array of this.#made) if (!keep.has(array)) this.free(array);
    this.#made = [];
  }

  free(array: MxArray): void {
    array.indexPut_(null, this.#nothing);
  }

  zeros(shape: number[], dtype: MxDtype): MxArray { return this.track(this.#mx.zeros(shape, dtype)); }
  add(a: MxArray, b: MxArray): MxArray { return this.track(this.#mx.add(a, b)); }
  subtract(a: MxArray, b: MxArray): MxArray { return this.track(this.#mx.subtract(a, b)); }
  multiply(a: MxArray, b: MxArray): MxArray { return this.track(this.#mx.multiply(a, b)); }
  silu(a: MxArray): MxArray { return this.multiply(a, this.track(this.#mx.sigmoid(a))); }
  concat(arrays: MxArray[], axis: number): MxArray { return arrays.length === 1 ? arrays[0]! : this.track(this.#mx.concatenate(arrays, axis)); }
  take(array: MxArray, indices: MxArray): MxArray { return this.track(this.#mx.take(array, indices, 0)); }
  cast(array: MxArray, dtype: MxDtype): MxArray { return this.track(array.astype(dtype)); }
  reshape(array: MxArray, ...shape: number[]): MxArray { return this.track(array.reshape(shape)); }
  transpose(array: MxArray, ...axes: number[]): MxArray { return this.track(array.transpose(axes)); }

  /** Elements [start, stop) along `axis`. */
  slice(array: MxArray, axis: number, start: number, stop: number): MxArray {
    return this.track(array.index(...this.#along(axis, start, stop)));
  }

  /** Writes `value` into [start, stop) along `axis` of `target`, in place where nothing else refers to its memory. */
  put(target: MxArray, axis: number, start: number, stop: number, value: MxArray): void {
    target.indexPut_(this.#along(axis, start, stop), value);
  }

  /** x [rows, inputs] times the transpose of w [outputs, inputs]. */
  linear(x: MxArray, w: MxArray): MxArray {
    return this.track(this.#mx.matmul(x, this.track(w.T)));
  }

  quantizedLinear(x: MxArray, w: MxArray, scales: MxArray, biases: MxArray, groupSize: number, bits: number): MxArray {
    return this.track(this.#mx.quantizedMatmul(x, w, scales, biases, true, groupSize, bits));
  }

  dequantize(w: MxArray, scales: MxArray, biases: MxArray, groupSize: number, bits: number): MxArray {
    return this.track(this.#mx.dequantize(w, scales, biases, groupSize, bits));
  }

  rmsNorm(x: MxArray, weight: MxArray, eps: number): MxArray { return this.track(this.#mx.fast.rmsNorm(x, weight, eps)); }

  /** q [1, heads, rows, headDim]; k and v [1, kvHeads, length, headDim]; mask added to the scores, [rows, length]. */
  attention(q: MxArray, k: MxArray, v: MxArray, scale: number, mask?: MxArray): MxArray {
    const { fast } = this.#mx;
    return this.track(mask === undefined ? fast.scaledDotProductAttention(q, k, v, scale) : fast.scaledDotProductAttention(q, k, v, scale, mask));
  }

  #along(axis: number, start: number, stop: number): ReturnType<MxCore["Slice"]>[] {
    return [...Array.from({ length: axis }, () => this.#mx.Slice()), this.#mx.Slice(start, stop)];
  }
}
