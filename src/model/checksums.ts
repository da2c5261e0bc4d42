/**
 * Does the disk still give the weights that it gave at first? A CRC-32 of every tensor is taken when a stage first reads it, kept beside the
 * model (or in the home, where the model's directory takes no file), and held against the bytes at every load after that, and for the
 * whole model by `minid verify` and `minid doctor --deep`. A bit that flipped is told by file and tensor before anything is computed with it.
 *
 * What this does not know: whether the first bytes were right (`minid pull` holds them against the hub's SHA-256). And it is for
 * accidents: who writes the file gives it a new time of change, and what was known of the old one is forgotten.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { readDurable, writeDurable } from "../core/durable-file.js";
import { MinidError } from "../core/errors.js";
import { unreadable } from "./safetensors.js";
import type { TensorRef } from "./weights.js";

export const checksumsName = ".minid-checksums.json";
/** A step of progress; a few milliseconds of arithmetic. */
const chunkBytes = 4 << 20;

/** `changedAt`: Unix seconds; what copies keep of a time. */
const fileSchema = z.object({ bytes: z.number(), changedAt: z.number(), tensors: z.record(z.string(), z.int().min(0).max(0xffff_ffff)) });
const schema = z.object({ files: z.record(z.string(), fileSchema) });
type KnownFile = z.infer<typeof fileSchema>;
type Known = z.infer<typeof schema>;

export class WeightChecksums {
  readonly #places: readonly string[];
  /** By the name of the file itself: in a Hugging Face cache that is not the link's. */
  readonly #files = new Map<string, KnownFile>();
  #learnt = false;

  private constructor(places: readonly string[]) { this.#places = places; }

  /** @param directory of the model. @param home where what cannot be kept there goes; undefined: nowhere. */
  static async open(directory: string, home: string | undefined): Promise<WeightChecksums> {
    const inHome = home === undefined ? [] : [join(home, "checksums", `${createHash("sha256").update(directory).digest("hex").slice(0, 16)}.json`)];
    const checksums = new WeightChecksums([join(directory, checksumsName), ...inHome]);
    // What lies beside the model was written by whoever could; the home's is older when both are there.
    for (const place of checksums.#places.toReversed()) for (const [name, file] of Object.entries((await known(place)).files)) checksums.#files.set(name, file);
    return checksums;
  }

  /**
   * Holds tensors against what is known of them, and learns what is not.
   * @param onProgress called with every few megabytes; what it throws ends the check.
   * @throws MinidError model_corrupt naming file and tensor | model_unreadable
   */
  async check(tensors: readonly TensorRef[], onProgress: () => void = () => undefined): Promise<void> {
    for (const file of new Set(tensors.map((tensor) => tensor.file))) {
      await this.#checkFile(file, tensors.filter((tensor) => tensor.file === file).sort((a, b) => a.offset - b.offset), onProgress);
    }
  }

  /** Writes down what was learnt. Where nothing can be written, the next load learns it again: a full disk keeps no model from serving. */
  async keep(): Promise<void> {
    if (!this.#learnt) return;
    for (const place of this.#places) {
      try {
        // Stages of other nodes may share the directory.
        const { files } = await known(place);
        for (const [name, file] of this.#files) files[name] = sameFile(files[name], file) ? { ...file, tensors: { ...files[name]?.tensors, ...file.tensors } } : file;
        await writeDurable(place, { files });
        this.#learnt = false;
        return;
      } catch (error) {
        if (!(error instanceof MinidError)) throw error;
      }
    }
  }

  async #checkFile(path: string, tensors: readonly TensorRef[], onProgress: () => void): Promise<void> {
    const handle = await open(path, "r").catch((error: unknown) => { throw unreadable(path, error); });
    try {
      const { size, mtimeMs } = await handle.stat();
      const found: KnownFile = { bytes: size, changedAt: Math.floor(mtimeMs / 1_000), tensors: {} };
      const before = this.#files.get(basename(path));
      const file = before && sameFile(before, found) ? before : found;
      this.#files.set(basename(path), file);
      const buffer = Buffer.allocUnsafe(chunkBytes);
      const held = { from: 0, to: 0 };
      const read = async (at: number): Promise<void> => {
        const { bytesRead } = await handle.read(buffer, 0, chunkBytes, at).catch((error: unknown) => { throw unreadable(path, error); });
        Object.assign(held, { from: at, to: at + bytesRead });
        onProgress();
      };
      for (const { name, offset, byteLength } of tensors) {
        let sum = 0;
        for (let at = offset; at < offset + byteLength;) {
          if (at < held.from || at >= held.to) await read(at);
          const end = Math.min(offset + byteLength, held.to);
          if (end <= at) throw new MinidError("model_corrupt", `${path}: tensor ${name} ends ${offset + byteLength - at} bytes early: the file became shorter after it was opened; fetch it again`);
          sum = crc32(buffer.subarray(at - held.from, end - held.from), sum);
          at = end;
        }
        const expected = file.tensors[name];
        if (expected !== undefined && expected !== sum) throw new MinidError("model_corrupt", `${path}: the bytes of tensor ${name} are not those that were first read (checksum ${hex(sum)}, not ${hex(expected)}), though nobody wrote the file: the disk or the memory fails; fetch the file again`);
        if (expected === undefined) { file.tensors[name] = sum; this.#learnt = true; }
      }
    } finally {
      await handle.close();
    }
  }
}

const hex = (sum: number): string => sum.toString(16).padStart(8, "0");
const sameFile = (a: KnownFile | undefined, b: KnownFile): boolean => a?.bytes === b.bytes && a.changedAt === b.changedAt;

/** Damaged or unreadable, it says nothing: it is made again. */
async function known(place: string): Promise<Known> {
  try { return await readDurable(place, schema) ?? { files: {} }; } catch { return { files: {} }; }
}
