/**
 * The memory that a session reads rows from and writes rows to, and OrtValues over its first rows, made once for each number of rows.
 * Contents last until the next run: callers copy in and out.
 */
import { addressOf } from "./native-memory.js";
import type { Handle, OrtApi } from "./ort-api.js";

export const evenUp = (rows: number): number => rows + (rows % 2);

/** One input and one output matrix of the same number of rows. */
export class RowBuffers {
  readonly #api: OrtApi;
  readonly #inputs: Float32Array;
  readonly #outputs: Float32Array;
  readonly #inputWidth: number;
  readonly #outputWidth: number;
  readonly #inputTensors = new Map<number, Handle>();
  readonly #outputTensors = new Map<number, Handle>();

  constructor(api: OrtApi, rowsMax: number, inputWidth: number, outputWidth: number) {
    this.#api = api;
    this.#inputWidth = inputWidth;
    this.#outputWidth = outputWidth;
    this.#inputs = new Float32Array(rowsMax * inputWidth);
    this.#outputs = new Float32Array(rowsMax * outputWidth);
  }

  load(from: Float32Array, firstRow: number, rows: number, at: number): void {
    this.#inputs.set(from.subarray(firstRow * this.#inputWidth, (firstRow + rows) * this.#inputWidth), at * this.#inputWidth);
  }

  repeat(row: number, at: number): void {
    this.#inputs.copyWithin(at * this.#inputWidth, row * this.#inputWidth, (row + 1) * this.#inputWidth);
  }

  /** Repeats the last row where their number is odd. @returns the even number. */
  pad(rows: number): number {
    if (rows % 2 === 1) this.repeat(rows - 1, rows);
    return evenUp(rows);
  }

  /** The first rows' outputs become the inputs of the next run. Both have the same width. */
  chain(rows: number): void { this.#inputs.set(this.#outputs.subarray(0, rows * this.#outputWidth)); }

  /** Some fixed numbers. */
  loadPattern(rows: number): void {
    for (let at = 0; at < rows * this.#inputWidth; at += 1) this.#inputs[at] = ((at * 37) % 64) / 32 - 1;
  }

  /** A copy of the first rows' outputs. */
  results(rows: number): Uint8Array { return new Uint8Array(this.#outputs.slice(0, rows * this.#outputWidth).buffer); }

  store(to: Float32Array, firstRow: number, rows: number, at: number): void {
    to.set(this.#outputs.subarray(at * this.#outputWidth, (at + rows) * this.#outputWidth), firstRow * this.#outputWidth);
  }

  inputTensor(rows: number): Handle { return this.#tensor(this.#inputTensors, this.#inputs, this.#inputWidth, rows); }
  outputTensor(rows: number): Handle { return this.#tensor(this.#outputTensors, this.#outputs, this.#outputWidth, rows); }

  dispose(): void {
    for (const tensor of [...this.#inputTensors.values(), ...this.#outputTensors.values()]) this.#api.release("value", tensor);
  }

  #tensor(known: Map<number, Handle>, over: Float32Array, width: number, rows: number): Handle {
    let tensor = known.get(rows);
    if (tensor === undefined) {
      tensor = this.#api.tensor(addressOf(over), "float32", [rows, width]);
      known.set(rows, tensor);
    }
    return tensor;
  }
}
