/** Keys and values of one slot, for every layer of the stage: [1, kvHeads, capacity, headDim] each, growing in steps and written in place. */
import { invariant } from "../../../core/invariant.js";
import type { MxArray, MxCore, MxDtype } from "./binding.js";
import type { Ops } from "./ops.js";

/** Rows by which a cache grows: the most that a slot wastes. */
const growRows = 256;

interface LayerCache { keys: MxArray; values: MxArray }

export class KvCache {
  readonly #mx: MxCore;
  readonly #ops: Ops;
  readonly #rowShape: { readonly kvHeads: number; readonly headDim: number };
  readonly #dtype: MxDtype;
  readonly #layers: LayerCache[];
  #capacity = 0;
  #length = 0;

  constructor(mx: MxCore, ops: Ops, layerCount: number, kvHeads: number, headDim: number, dtype: MxDtype) {
    this.#mx = mx;
    this.#ops = ops;
    this.#rowShape = { kvHeads, headDim };
    this.#dtype = dtype;
    this.#layers = Array.from({ length: layerCount }, () => ({ keys: this.#empty(0), values: this.#empty(0) }));
    this.#own();
  }

  /** Tokens held. */
  get length(): number { return this.#length; }
  get byteLength(): number { return this.#layers.reduce((bytes, { keys, values }) => bytes + keys.nbytes + values.nbytes, 0); }

  /** Before the rows of a forward are appended: forgets what lies past `position` and makes room for `rows` more. */
  begin(position: number, rows: number): void {
    invariant(position <= this.#length, `a span at position ${position} of a slot that holds ${this.#length} tokens`);
    this.#grow(position + rows);
    this.#length = position + rows;
  }

  /** Writes the rows of `begin`. @param keys [1, kvHeads, rows, headDim]. @param values the same shape. */
  append(layer: number, position: number, rows: number, keys: MxArray, values: MxArray): void {
    const cache = this.#layers[layer]!;
    this.#ops.put(cache.keys, 2, position, position + rows, keys);
    this.#ops.put(cache.values, 2, position, position + rows, values);
  }

  /** The first `length` tokens, as views that must be released before the next `append`. */
  view(layer: number, length: number): LayerCache {
    const { keys, values } = this.#layers[layer]!;
    return { keys: this.#ops.slice(keys, 2, 0, length), values: this.#ops.slice(values, 2, 0, length) };
  }

  /** The arrays of a layer, for evaluation. */
  arrays(layer: number): MxArray[] {
    const { keys, values } = this.#layers[layer]!;
    return [keys, values];
  }

  /** Becomes the first `length` tokens of another slot. */
  copyFrom(other: KvCache, length: number): void {
    invariant(length <= other.#length, `a copy of ${length} tokens from a slot that holds ${other.#length}`);
    this.clear();
    this.#grow(length);
    for (const [layer, { keys, values }] of this.#layers.entries()) {
      const from = other.view(layer, length);
      this.#ops.put(keys, 2, 0, length, from.keys);
      this.#ops.put(values, 2, 0, length, from.values);
    }
    this.#length = length;
    this.#own();
  }

  clear(): void {
    for (const cache of this.#layers) {
      this.#ops.free(cache.keys);
      this.#ops.free(cache.values);
      cache.keys = this.#empty(0);
      cache.values = this.#empty(0);
    }
    this.#capacity = 0;
    this.#length = 0;
    this.#own();
  }

  dispose(): void {
    for (const { keys, values } of this.#layers) {
      this.#ops.free(keys);
      this.#ops.free(values);
    }
  }

  #grow(rows: number): void {
    if (rows <= this.#capacity) return;
    const capacity = Math.ceil(rows / growRows) * growRows;
    for (const cache of this.#layers) {
      const old = [cache.keys, cache.values];
      const more = this.#empty(capacity - this.#capacity);
      cache.keys = this.#capacity === 0 ? more : this.#ops.concat([cache.keys, more], 2);
      cache.values = this.#capacity === 0 ? this.#empty(capacity) : this.#ops.concat([cache.values, more], 2);
      this.#mx.eval(cache.keys, cache.values);
      for (const array of old) this.#ops.free(array);
    }
    this.#capacity = capacity;
    this.#own();
  }

  /** Evaluates the caches and takes them out of the ops' care. */
  #own(): void {
    this.#ops.settle(...this.#layers.flatMap(({ keys, values }) => [keys, values]));
  }

  #empty(rows: number): MxArray {
    return this.#ops.zeros([1, this.#rowShape.kvHeads, rows, this.#rowShape.headDim], this.#dtype);
  }
}
