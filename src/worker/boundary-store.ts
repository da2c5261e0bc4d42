/**
 * What a rank has handed to the next one, for as long as its cache holds the same rows. When the next rank dies, these rows are sent again
 * instead of being computed again, and they are the same bits because they are the same bytes.
 *
 * Invariant: a slot's rows [0, length) are the ones that its cache was computed with; what is not known for certain is forgotten. Bounded:
 * a slot that would outgrow the bound is forgotten, and its rows are computed again if they are ever needed.
 */
import { invariant } from "../core/invariant.js";

interface Rows { values: Float32Array; length: number }

const firstRows = 128;

export class BoundaryStore {
  readonly #width: number;
  readonly #bytesMax: () => number;
  readonly #slots = new Map<number, Rows>();
  #bytes = 0;

  /** @param width of a row. @param bytesMax asked whenever more memory is wanted. */
  constructor(width: number, bytesMax: () => number) {
    this.#width = width;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number { return this.#bytes; }

  /** Rows that are held of a slot, from its first on. */
  length(slot: number): number { return this.#slots.get(slot)?.length ?? 0; }

  /** @param rows [count, width] at [position, position + count); what was held behind them is forgotten. */
  write(slot: number, position: number, rows: Float32Array): void {
    if (position > this.length(slot)) { this.drop(slot); return; }
    const count = rows.length / this.#width;
    const held = this.#room(slot, position + count);
    if (!held) { this.drop(slot); return; }
    held.values.set(rows, position * this.#width);
    held.length = position + count;
  }

  /** @returns [count, width], valid until the slot is written to. */
  read(slot: number, position: number, count: number): Float32Array {
    const held = this.#slots.get(slot);
    invariant(held && position + count <= held.length, `rows up to ${position + count} of slot ${slot} are held`);
    return held.values.subarray(position * this.#width, (position + count) * this.#width);
  }

  copy(from: number, to: number, length: number): void {
    this.drop(to);
    if (length <= this.length(from)) this.write(to, 0, this.read(from, 0, length));
  }

  drop(slot: number): void {
    this.#bytes -= this.#slots.get(slot)?.values.byteLength ?? 0;
    this.#slots.delete(slot);
  }

  #room(slot: number, rows: number): Rows | undefined {
    const held = this.#slots.get(slot);
    if (held && rows * this.#width <= held.values.length) return held;
    const capacity = Math.max(firstRows, rows, held ? held.length * 2 : 0) * this.#width;
    const more = capacity * Float32Array.BYTES_PER_ELEMENT - (held?.values.byteLength ?? 0);
    if (this.#bytes + more > this.#bytesMax()) return undefined;
    const grown: Rows = { values: new Float32Array(capacity), length: held?.length ?? 0 };
    if (held) grown.values.set(held.values.subarray(0, held.length * this.#width));
    this.#slots.set(slot, grown);
    this.#bytes += more;
    return grown;
  }
}
