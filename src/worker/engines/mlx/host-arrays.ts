/**
 * Numbers between JavaScript and MLX. The binding takes and gives plain arrays only, at 0.15-0.35 us an element: 7.6 ms for one row of SmolLM2's
 * logits. A .npy file in a scratch directory carries the same row in 0.8 ms, so what is large goes through one, deleted at once.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MinidError } from "../../../core/errors.js";
import { invariant } from "../../../core/invariant.js";
import type { MxArray, MxCore } from "./binding.js";
import type { Ops } from "./ops.js";

/** Below this a plain array is faster than a file. */
const plainElementsMax = 4096;
const magicBytes = 10;

export class HostArrays {
  readonly #mx: MxCore;
  readonly #ops: Ops;
  readonly #directory: string;

  constructor(mx: MxCore, ops: Ops) {
    this.#mx = mx;
    this.#ops = ops;
    this.#directory = mkdtempSync(join(tmpdir(), "minid-mlx-"));
  }

  /** @returns a tracked float32 array. */
  fromHost(values: Float32Array, ...shape: number[]): MxArray {
    if (values.length <= plainElementsMax) return this.#ops.reshape(this.#ops.track(this.#mx.array([...values])), ...shape);
    const file = join(this.#directory, "in.npy");
    return this.#throughFile(file, () => {
      writeFileSync(file, npy(values));
      const array = this.#ops.track(this.#mx.load(file) as MxArray);
      this.#mx.eval(array);
      return this.#ops.reshape(array, ...shape);
    });
  }

  indices(values: Int32Array): MxArray {
    return this.#ops.track(this.#mx.array([...values], this.#mx.int32));
  }

  /** Evaluates the array. @param array float32. */
  toHost(array: MxArray): Float32Array {
    const flat = this.#ops.reshape(array, -1);
    this.#mx.eval(flat);
    if (flat.size <= plainElementsMax) return Float32Array.from(flat.tolist() as number[]);
    const file = join(this.#directory, "out.npy");
    return this.#throughFile(file, () => {
      this.#mx.save(file, flat);
      const bytes = readFileSync(file);
      const data = bytes.subarray(magicBytes + bytes.readUInt16LE(8));
      invariant(data.byteLength === flat.size * 4, "an .npy file of another size than the array it was made of");
      return new Float32Array(Uint8Array.from(data).buffer);
    });
  }

  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #throughFile<T>(file: string, work: () => T): T {
    try {
      // A worker lives longer than temporary files do.
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      return work();
    } catch (thrown) {
      if (thrown instanceof Error && "code" in thrown) throw new MinidError("engine_failed", `${file} cannot be used (${String(thrown.code)}): make room in ${tmpdir()} or set TMPDIR`, { cause: thrown });
      throw thrown;
    } finally {
      rmSync(file, { force: true });
    }
  }
}

/** One-dimensional .npy, format version 1.0. MLX's parser wants the shape spelled exactly as it writes it. */
function npy(values: Float32Array): Buffer {
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': (${values.length}, ), }`;
  const padded = fields.padEnd(Math.ceil((magicBytes + fields.length + 1) / 64) * 64 - magicBytes - 1) + "\n";
  const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${padded}`, "latin1");
  head.writeUInt16LE(padded.length, 8);
  return Buffer.concat([head, Buffer.from(values.buffer, values.byteOffset, values.byteLength)]);
}
