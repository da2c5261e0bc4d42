/**
 * The key-value cache of a stage: numbered slots, each an address range for the longest sequence, of which only touched pages cost
 * memory. A slot's keys of one layer are [1, kvHeads, capacity, headDim] float32, updated in place by attention.
 *
 * Invariant: rows [0, length) of a slot are the sequence's; what lies beyond is never read and may be anything.
 */
import { invariant } from "../../../core/invariant.js";
import type { Libc } from "./native-memory.js";
import type { Handle, OrtApi } from "./ort-api.js";

const floatBytes = 4;

export interface KvShape {
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  /** Rows of a slot. */
  readonly capacity: number;
}

interface Slot {
  length: number;
  /** Rows written since the slot's memory was last given back. */
  touched: number;
  /** Of layer 0's key, layer 0's value, layer 1's key ... ; made when the slot is first used. */
  tensors: readonly Handle[] | undefined;
}

export class KvCache {
  readonly #api: OrtApi;
  readonly #libc: Libc;
  readonly #shape: KvShape;
  readonly #base: bigint;
  readonly #slots: readonly Slot[];
  readonly #headBytes: number;
  readonly #slotBytes: number;

  constructor(api: OrtApi, shape: KvShape, slots: number) {
    this.#api = api;
    this.#libc = api.libc;
    this.#shape = shape;
    this.#headBytes = shape.capacity * shape.headDim * floatBytes;
    const page = api.libc.pageBytes;
    this.#slotBytes = Math.max(page, Math.ceil((this.#headBytes * shape.heads * shape.layers * 2) / page) * page);
    this.#base = this.#libc.mapAnonymous(this.#slotBytes * slots);
    this.#slots = Array.from({ length: slots }, () => ({ length: 0, touched: 0, tensors: undefined }));
  }

  length(slot: number): number { return this.#slot(slot).length; }

  /** Says that rows [0, length) now hold tokens and that rows below `touched` were written. */
  wrote(slot: number, length: number, touched: number): void {
    invariant(length <= touched && touched <= this.#shape.capacity, `slot ${slot} holds at most ${this.#shape.capacity} rows`);
    const state = this.#slot(slot);
    state.length = length;
    state.touched = Math.max(state.touched, touched);
  }

  /** Key and value tensors of a slot, alternating, layer after layer. */
  tensors(slot: number): readonly Handle[] {
    const state = this.#slot(slot);
    const { layers, heads, capacity, headDim } = this.#shape;
    state.tensors ??= Array.from({ length: layers * 2 }, (_, index) =>
      this.#api.tensor(this.#address(slot) + BigInt(index * heads * this.#headBytes), "float32", [1, heads, capacity, headDim]));
    return state.tensors;
  }

  copy(from: number, to: number, length: number): void {
    invariant(from !== to, `slot ${from} is not copied onto itself`);
    invariant(length <= this.length(from), `slot ${from} holds the ${length} tokens to copy`);
    this.drop(to);
    const blocks = this.#shape.layers * 2 * this.#shape.heads;
    const byteLength = length * this.#shape.headDim * floatBytes;
    for (let block = 0; block < blocks; block += 1) {
      const offset = BigInt(block * this.#headBytes);
      this.#libc.copy(this.#address(to) + offset, this.#address(from) + offset, byteLength);
    }
    this.wrote(to, length, length);
  }

  drop(slot: number): void {
    const state = this.#slot(slot);
    if (state.touched > 0) this.#libc.discard(this.#address(slot), this.#slotBytes);
    state.length = 0;
    state.touched = 0;
  }

  /** Whole pages, as the system counts them. */
  get touchedBytes(): number {
    const { layers, heads, headDim } = this.#shape;
    const page = this.#libc.pageBytes;
    return this.#slots.reduce((sum, { touched }) => sum + layers * 2 * heads * Math.ceil((touched * headDim * floatBytes) / page) * page, 0);
  }

  /** After every session that was bound to it is gone. */
  dispose(): void {
    for (const { tensors } of this.#slots) for (const tensor of tensors ?? []) this.#api.release("value", tensor);
    this.#libc.unmap(this.#base, this.#slotBytes * this.#slots.length);
  }

  #slot(slot: number): Slot {
    const state = this.#slots[slot];
    invariant(state, `slot ${slot} is one of ${this.#slots.length}`);
    return state;
  }

  #address(slot: number): bigint { return this.#base + BigInt(slot) * BigInt(this.#slotBytes); }
}
