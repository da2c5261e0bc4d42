/**
 * Every initializer of a stage, by name, as an OrtValue over memory that this table owns or borrows. Three kinds:
 *  - kept: written once, in memory for the stage's life (scales, norms, rotary tables);
 *  - borrowed: the checkpoint's own bytes, mapped from its file;
 *  - rebuilt: derived from the file (rows of q, k and v made one matrix, say). Sessions pack such weights into a layout of their own,
 *    so the source is needed only while a session is created: `fill` before, `discard` after.
 */
import { invariant } from "../../../core/invariant.js";
import type { TensorRef } from "../../../model/weights.js";
import { viewBytes } from "./native-memory.js";
import { type ElementTypeName, type Handle, type OrtApi, elementBytes } from "./ort-api.js";
import type { WeightFiles } from "./weight-files.js";

/** Smaller tensors share pages. */
const sharedRegionBytes = 1 << 20;
const alignmentBytes = 64;

interface Entry {
  readonly type: ElementTypeName;
  readonly shape: readonly number[];
  readonly address: bigint;
  readonly byteLength: number;
  readonly handle: Handle;
  readonly fill?: (target: ArrayBuffer) => void;
}

export class WeightTable {
  readonly #api: OrtApi;
  readonly files: WeightFiles;
  readonly #entries = new Map<string, Entry>();
  readonly #regions: { readonly address: bigint; readonly byteLength: number }[] = [];
  #shared = { next: 0n, end: 0n };
  #keptBytes = 0;
  #borrowedBytes = 0;
  #rebuiltBytes = 0;

  constructor(api: OrtApi, files: WeightFiles) {
    this.#api = api;
    this.files = files;
  }

  /** Anonymous memory held for the stage's life. */
  get keptBytes(): number { return this.#keptBytes; }
  /** Bytes of the weights proper, which sessions hold packed: about as large as here. */
  get packedBytes(): number { return this.#borrowedBytes + this.#rebuiltBytes; }
  get largestBytes(): number { return Math.max(0, ...[...this.#entries.values()].map((entry) => entry.byteLength)); }

  entry(name: string): { readonly type: ElementTypeName; readonly shape: readonly number[] } {
    const entry = this.#entries.get(name);
    invariant(entry, `initializer ${name} is in the weight table`);
    return entry;
  }

  /** @param write fills the tensor, zeros at first. */
  keep(name: string, type: ElementTypeName, shape: readonly number[], write: (target: ArrayBuffer) => void): string {
    const byteLength = tensorBytes(type, shape);
    const address = this.#allocate(byteLength);
    write(viewBytes(address, byteLength));
    this.#keptBytes += byteLength;
    return this.#add(name, { type, shape, address, byteLength });
  }

  borrow(name: string, type: ElementTypeName, shape: readonly number[], tensor: TensorRef): string {
    const byteLength = tensorBytes(type, shape);
    invariant(byteLength === tensor.byteLength, `${tensor.name} has the bytes of its shape`);
    this.#borrowedBytes += byteLength;
    return this.#add(name, { type, shape, address: this.files.address(tensor), byteLength });
  }

  rebuild(name: string, type: ElementTypeName, shape: readonly number[], fill: (target: ArrayBuffer) => void): string {
    const byteLength = tensorBytes(type, shape);
    this.#rebuiltBytes += byteLength;
    return this.#add(name, { type, shape, address: this.#region(byteLength), byteLength, fill });
  }

  /** The OrtValues of the given names. */
  handles(names: ReadonlySet<string>): Map<string, Handle> {
    return new Map([...names].map((name) => {
      const entry = this.#entries.get(name);
      invariant(entry, `initializer ${name} is in the weight table`);
      return [name, entry.handle] as const;
    }));
  }

  /** Rebuilds the sources of the given names. */
  fill(names: ReadonlySet<string>): void {
    for (const name of names) {
      const entry = this.#entries.get(name);
      if (entry?.fill) entry.fill(viewBytes(entry.address, entry.byteLength));
    }
  }

  /** Gives the rebuilt sources' memory back, and the pages of the files that were read for them. */
  discard(names: ReadonlySet<string>): void {
    for (const name of names) {
      const entry = this.#entries.get(name);
      if (entry?.fill) this.#api.libc.discard(entry.address, entry.byteLength);
    }
    this.files.release();
  }

  /** After every session that uses the table is gone. */
  dispose(): void {
    for (const entry of this.#entries.values()) this.#api.release("value", entry.handle);
    this.#entries.clear();
    for (const { address, byteLength } of this.#regions) this.#api.libc.unmap(address, byteLength);
    this.#regions.length = 0;
    this.files.close();
  }

  #add(name: string, entry: Omit<Entry, "handle">): string {
    invariant(!this.#entries.has(name), `initializer ${name} is added once`);
    this.#entries.set(name, { ...entry, handle: this.#api.tensor(entry.address, entry.type, entry.shape) });
    return name;
  }

  #allocate(byteLength: number): bigint {
    if (byteLength >= sharedRegionBytes) return this.#region(byteLength);
    if (this.#shared.next + BigInt(byteLength) > this.#shared.end) {
      const next = this.#region(sharedRegionBytes);
      this.#shared = { next, end: next + BigInt(sharedRegionBytes) };
    }
    const address = this.#shared.next;
    this.#shared.next += BigInt(Math.ceil(byteLength / alignmentBytes) * alignmentBytes);
    return address;
  }

  #region(byteLength: number): bigint {
    const address = this.#api.libc.mapAnonymous(byteLength);
    this.#regions.push({ address, byteLength });
    return address;
  }
}

function tensorBytes(type: ElementTypeName, shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, elementBytes[type]);
}
