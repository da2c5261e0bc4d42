/** The table of families. To add one: write its file, list it here, name it in README.md. */
import { MinidError } from "../../core/errors.js";
import type { Family } from "./family.js";
import { llama } from "./llama.js";
import { mistral } from "./mistral.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";

export const families: readonly Family[] = [llama, mistral, qwen2, qwen3];

/** @param config parsed `config.json`. @param file its path, for messages. @throws MinidError model_corrupt | model_unsupported */
export function familyOf(config: unknown, file: string): Family {
  if (typeof config !== "object" || config === null || Array.isArray(config)) throw new MinidError("model_corrupt", `${file} is not a JSON object: fetch it again`);
  const modelType = "model_type" in config ? config.model_type : undefined;
  if (typeof modelType !== "string") throw new MinidError("model_corrupt", `${file}: field model_type is missing: correct it or fetch the file again`);
  const family = families.find(candidate => candidate.modelType === modelType);
  if (family === undefined) {
    throw new MinidError("model_unsupported", `${file}: model_type ${modelType} is not supported: choose a model of ${families.map(known => known.modelType).join(", ")}`);
  }
  return family;
}
