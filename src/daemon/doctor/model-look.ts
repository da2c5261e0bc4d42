/**
 * Looks at a model's files as a worker would before loading them: headers and extents always, every byte when asked (`--deep`). Where this
 * machine's worker could not load its stage, the weights are held against their checksums without being asked.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, constants, readdir, realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ModelLook } from "../../checks/node-facts.js";
import { toMinidError } from "../../core/errors.js";
import { openCheckpoint } from "../../model/checkpoint.js";
import { WeightChecksums } from "../../model/checksums.js";
import { unreadable } from "../../model/safetensors.js";
import { allTensors } from "../../model/stage-tensors.js";
import { resolveModel } from "../../model/store.js";

const hubBlob = /^[0-9a-f]{64}$/u;

export interface ReadModel { readonly look: ModelLook; readonly digests: Readonly<Record<string, string>> }

/** @param names as configured and as planned; the first that cannot be loaded is told. @param failed a stage of this machine was not loaded. */
export async function lookAtModels(names: readonly string[], home: string, { deep, failed }: { readonly deep: boolean; readonly failed: boolean }): Promise<ReadModel> {
  let digests: Readonly<Record<string, string>> = {};
  let id = names[0] ?? "";
  for (const name of new Set(names)) {
    // The plan's id for what is configured: the node loads that, and no other model of the same id.
    if (name !== names[0] && name === id) continue;
    const place = await resolveModel(name, home).catch((error: unknown) => toMinidError(error));
    if (place instanceof Error) return { look: { id: name, problem: { code: "model_missing", text: place.message } }, digests };
    if (name === names[0]) ({ id } = place);
    try {
      const checkpoint = await openCheckpoint(place.directory);
      try {
        if (deep || failed) await (await WeightChecksums.open(checkpoint.directory, home)).check(allTensors(checkpoint));
      } finally { await checkpoint.close(); }
      await access(join(place.directory, "tokenizer.json"), constants.R_OK).catch((error: unknown) => { throw unreadable(join(place.directory, "tokenizer.json"), error); });
      if (deep) digests = { ...digests, ...await digestsOf(place.directory) };
    } catch (error) {
      return { look: { id: name, problem: { code: "model_corrupt", text: toMinidError(error).message } }, digests };
    }
  }
  return { look: { id, problem: undefined }, digests };
}

/** @throws when a file of the Hugging Face cache, which is named by its SHA-256, has another. */
async function digestsOf(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(directory)).filter((each) => each.endsWith(".safetensors")).sort()) {
    const file = await realpath(join(directory, name));
    const digest = await sha256Of(file);
    const expected = basename(file);
    if (hubBlob.test(expected) && expected !== digest) throw new Error(`${join(directory, name)} has the checksum ${digest.slice(0, 12)}, not ${expected.slice(0, 12)} as the hub said: fetch it again`);
    found[name] = digest;
  }
  return found;
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
