/**
 * Opens a checkpoint: reads `config.json` and the safetensors headers (never the weights), and checks that every tensor the spec
 * calls for is there with the right shape, dtype and extent, so that a load fails here, at once and by name, and not in an engine.
 * Sharded or single; files may be symlinks out of the directory, as in the Hugging Face cache. Extra tensors are ignored.
 */
import { open, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import { readJson } from "./config.js";
import { isFloatDtype, widenToFloat32 } from "./dequantize.js";
import { familyOf } from "./families/index.js";
import { quantizationOf } from "./quantization.js";
import { unreadable } from "./safetensors.js";
import { readTensorTable } from "./shards.js";
import { WeightFinder } from "./weight-finder.js";
import type { Checkpoint, TensorRef } from "./weights.js";

/** One `read` call of the system takes less than 2 GiB; smaller pieces let other work of the process in between. */
const readChunkBytes = 64 * 1024 * 1024;

/**
 * @param directory a folder with `config.json` and `model.safetensors` or `model.safetensors.index.json`.
 * @throws MinidError model_unreadable | model_corrupt | model_unsupported, naming file and tensor.
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const real = await realpath(directory).catch((thrown: unknown) => { throw unreadable(directory, thrown); });
  const configFile = join(real, "config.json");
  const config = await readJson(configFile);
  const family = familyOf(config, configFile);
  const spec = family.spec(config, configFile);
  const find = new WeightFinder(real, await readTensorTable(real), quantizationOf(config, configFile));

  const { hiddenSize, intermediateSize, vocabSize } = spec;
  const queries = spec.headCount * spec.headDim;
  const keys = spec.kvHeadCount * spec.headDim;
  const embedding = find.linear(family.names.embedding, vocabSize, hiddenSize, false);
  const layers = Array.from({ length: spec.layerCount }, (_, index) => {
    const names = family.names.layer(index);
    return {
      inputNorm: find.vector(`${names.inputNorm}.weight`, hiddenSize),
      q: find.linear(names.q, queries, hiddenSize, spec.bias.qkv),
      k: find.linear(names.k, keys, hiddenSize, spec.bias.qkv),
      v: find.linear(names.v, keys, hiddenSize, spec.bias.qkv),
      o: find.linear(names.o, hiddenSize, queries, spec.bias.o),
      ...(spec.qkNorm && { qNorm: find.vector(`${names.qNorm}.weight`, spec.headDim), kNorm: find.vector(`${names.kNorm}.weight`, spec.headDim) }),
      postAttentionNorm: find.vector(`${names.postAttentionNorm}.weight`, hiddenSize),
      gate: find.linear(names.gate, intermediateSize, hiddenSize, spec.bias.mlp),
      up: find.linear(names.up, intermediateSize, hiddenSize, spec.bias.mlp),
      down: find.linear(names.down, hiddenSize, intermediateSize, spec.bias.mlp),
    };
  });
  const files = new TensorFiles();
  return {
    directory: real,
    spec,
    embedding,
    finalNorm: find.vector(`${family.names.finalNorm}.weight`, hiddenSize),
    // Tied wins over an lm_head that a checkpoint carries all the same: it is what the model was trained with.
    head: spec.tiedEmbeddings ? embedding : find.linear(family.names.head, vocabSize, hiddenSize, false),
    layers,
    read: tensor => files.read(tensor),
    async readFloat32(tensor) {
      invariant(isFloatDtype(tensor.dtype), `${tensor.name} is not a float tensor`);
      return widenToFloat32(await files.read(tensor), tensor.dtype);
    },
    close: () => files.close(),
  };
}

/** The weight files, opened when first read. */
export class TensorFiles {
  readonly #handles = new Map<string, Promise<FileHandle>>();

  /** @throws MinidError model_unreadable, or model_corrupt when the file is shorter than it was. */
  async read(tensor: TensorRef): Promise<Buffer> {
    const handle = await this.#open(tensor.file);
    const bytes = Buffer.allocUnsafeSlow(tensor.byteLength);
    let done = 0;
    while (done < tensor.byteLength) {
      const want = Math.min(readChunkBytes, tensor.byteLength - done);
      const { bytesRead } = await handle.read(bytes, done, want, tensor.offset + done).catch((thrown: unknown) => { throw unreadable(tensor.file, thrown); });
      if (bytesRead === 0) {
        throw new MinidError("model_corrupt", `${tensor.file}: tensor ${tensor.name} ends ${tensor.byteLength - done} bytes early: the file became shorter after it was opened; fetch it again`);
      }
      done += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    const handles = await Promise.allSettled(this.#handles.values());
    this.#handles.clear();
    for (const handle of handles) if (handle.status === "fulfilled") await handle.value.close();
  }

  #open(file: string): Promise<FileHandle> {
    const known = this.#handles.get(file);
    if (known !== undefined) return known;
    const handle = open(file, "r").catch((thrown: unknown) => {
      this.#handles.delete(file);
      throw unreadable(file, thrown);
    });
    this.#handles.set(file, handle);
    return handle;
  }
}
