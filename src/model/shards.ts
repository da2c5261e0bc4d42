/** Which file holds each tensor: one `model.safetensors`, or the shards that `model.safetensors.index.json` names. Headers only. */
import { access } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { MinidError } from "../core/errors.js";
import { parseFields, readJson } from "./config.js";
import { readSafetensorsHeader } from "./safetensors.js";
import type { TensorRef } from "./weights.js";

const shardsMax = 4096;
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string().min(1)) });

const exists = (file: string): Promise<boolean> => access(file).then(() => true, () => false);

/** @throws MinidError model_unreadable | model_corrupt | model_unsupported */
export async function readTensorTable(directory: string): Promise<Map<string, TensorRef>> {
  const index = join(directory, "model.safetensors.index.json");
  if (await exists(index)) return readShards(directory, index);
  const single = join(directory, "model.safetensors");
  if (await exists(single)) return readSafetensorsHeader(single);
  throw new MinidError("model_unreadable", `${directory} has neither model.safetensors nor model.safetensors.index.json: minid reads safetensors only; fetch the model in that format`);
}

async function readShards(directory: string, index: string): Promise<Map<string, TensorRef>> {
  const { weight_map: places } = parseFields(indexSchema, await readJson(index), index);
  const shards = [...new Set(Object.values(places))].sort();
  if (shards.length > shardsMax) throw new MinidError("model_corrupt", `${index} names ${shards.length} shards, more than ${shardsMax}: fetch it again`);
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  for (const shard of shards) {
    if (basename(shard) !== shard || shard === "..") throw new MinidError("model_corrupt", `${index} names shard ${JSON.stringify(shard)}, which is not a file of the model's directory: fetch it again`);
    const path = join(directory, shard);
    if (!(await exists(path))) {
      const lost = Object.keys(places).filter(name => places[name] === shard);
      throw new MinidError("model_corrupt", `${index} names shard ${shard}, which is absent (it should hold ${lost.length} tensors, ${lost[0]} among them): fetch ${shard}`);
    }
    for (const [name, tensor] of await readSafetensorsHeader(path)) {
      const other = shardOf.get(name);
      if (other !== undefined) throw new MinidError("model_corrupt", `${directory}: tensor ${name} is in both ${other} and ${shard}: fetch the model again`);
      shardOf.set(name, shard);
      tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of Object.entries(places)) {
    if (shardOf.get(name) !== shard) throw new MinidError("model_corrupt", `${index} says that tensor ${name} is in ${shard}, where it is not: fetch ${shard} and the index again`);
  }
  return tensors;
}
