/**
 * `config.json` of a checkpoint: the fields that every supported family shares, and how a wrong one is reported.
 * A family extends `commonConfig` with what is its own (`families/`). Unknown fields are ignored: the files carry dozens.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { MinidError } from "../core/errors.js";
import { unreadable } from "./safetensors.js";
import type { ModelSpec, RopeSpec } from "./spec.js";

/** Far above any model that exists; it keeps a damaged number from becoming an allocation. */
const dimensionMax = 2 ** 24;
const layersMax = 1024;

const count = (max: number) => z.int().min(1).max(max);
const positive = z.number().positive();

const ropeScaling = z.looseObject({
  rope_type: z.string().optional(),
  /** The field's older name. */
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.optional(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: count(dimensionMax).optional(),
});

export const commonConfig = z.looseObject({
  model_type: z.string(),
  hidden_size: count(dimensionMax),
  num_hidden_layers: count(layersMax),
  num_attention_heads: count(dimensionMax),
  num_key_value_heads: count(dimensionMax).nullish(),
  head_dim: count(dimensionMax).nullish(),
  intermediate_size: count(dimensionMax),
  vocab_size: count(dimensionMax),
  max_position_embeddings: count(2 ** 30),
  rms_norm_eps: positive,
  rope_theta: positive.nullish(),
  rope_scaling: ropeScaling.nullish(),
  /** Where Transformers 5 puts theta and scaling together. */
  rope_parameters: ropeScaling.nullish(),
  rope_traditional: z.boolean().nullish(),
  rope_interleaved: z.boolean().nullish(),
  partial_rotary_factor: z.number().nullish(),
  hidden_act: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
});
export type CommonConfig = z.infer<typeof commonConfig>;

/** What differs between families of this shape. */
export interface FamilyTraits {
  readonly bias: ModelSpec["bias"];
  readonly qkNorm: boolean;
  /** What `tie_word_embeddings` means where the file does not say. */
  readonly tiedByDefault: boolean;
  readonly ropeThetaByDefault: number;
}

/** `file` as JSON. @throws MinidError model_unreadable | model_corrupt */
export async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => { throw unreadable(file, thrown); });
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw new MinidError("model_corrupt", `${file} is not JSON: fetch it again`, { cause: thrown });
  }
}

/** `raw` through `schema`. @throws MinidError model_corrupt that names the field. */
export function parseFields<T>(schema: z.ZodType<T>, raw: unknown, file: string): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = issue.path.join(".");
  throw new MinidError("model_corrupt", `${file}: ${field === "" ? "the file" : `field ${field}`} is invalid: ${issue.message}: correct it or fetch the file again`);
}

export const unsupported = (file: string, what: string): MinidError =>
  new MinidError("model_unsupported", `${file}: ${what}: choose another model`);

/** The spec of a family whose shape is llama's. @throws MinidError model_corrupt | model_unsupported */
export function specOf(config: CommonConfig, traits: FamilyTraits, file: string): ModelSpec {
  const headCount = config.num_attention_heads;
  const kvHeadCount = config.num_key_value_heads ?? headCount;
  const contradiction = (what: string): MinidError => new MinidError("model_corrupt", `${file}: ${what}: correct it or fetch the file again`);
  if (headCount % kvHeadCount !== 0) throw contradiction(`num_attention_heads (${headCount}) is not a multiple of num_key_value_heads (${kvHeadCount})`);
  const headDim = config.head_dim ?? config.hidden_size / headCount;
  if (!Number.isInteger(headDim)) throw contradiction(`hidden_size (${config.hidden_size}) is not a multiple of num_attention_heads (${headCount}), and there is no head_dim`);
  if (headDim % 2 !== 0) throw unsupported(file, `head_dim ${headDim} is odd, which a rotary embedding cannot be`);
  const activation = config.hidden_act ?? "silu";
  if (activation !== "silu" && activation !== "swish") throw unsupported(file, `hidden_act ${activation} is not supported, only silu is`);
  return {
    family: config.model_type,
    hiddenSize: config.hidden_size,
    layerCount: config.num_hidden_layers,
    headCount,
    kvHeadCount,
    headDim,
    intermediateSize: config.intermediate_size,
    vocabSize: config.vocab_size,
    maxPositions: config.max_position_embeddings,
    rmsNormEps: config.rms_norm_eps,
    rope: ropeOf(config, traits, file),
    tiedEmbeddings: config.tie_word_embeddings ?? traits.tiedByDefault,
    bias: traits.bias,
    qkNorm: traits.qkNorm,
  };
}

function ropeOf(config: CommonConfig, traits: FamilyTraits, file: string): RopeSpec {
  if (config.rope_traditional === true || config.rope_interleaved === true) throw unsupported(file, "an interleaved rotary embedding is not supported");
  if ((config.partial_rotary_factor ?? 1) !== 1) throw unsupported(file, `partial_rotary_factor ${config.partial_rotary_factor} is not supported`);
  const scaling = config.rope_scaling ?? config.rope_parameters ?? {};
  const field = config.rope_scaling ? "rope_scaling" : "rope_parameters";
  const theta = config.rope_theta ?? config.rope_parameters?.rope_theta ?? traits.ropeThetaByDefault;
  const need = (name: "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings"): number => {
    const value = scaling[name];
    if (value === undefined) throw new MinidError("model_corrupt", `${file}: field ${field}.${name} is missing: correct it or fetch the file again`);
    return value;
  };
  const kind = scaling.rope_type ?? scaling.type ?? "default";
  switch (kind) {
    case "default":
      return { theta, scaling: { kind: "none" } };
    case "linear":
      return { theta, scaling: { kind: "linear", factor: need("factor") } };
    case "llama3": {
      const lowFreqFactor = need("low_freq_factor");
      const highFreqFactor = need("high_freq_factor");
      if (highFreqFactor <= lowFreqFactor) {
        throw new MinidError("model_corrupt", `${file}: ${field}.high_freq_factor (${highFreqFactor}) must be above low_freq_factor (${lowFreqFactor}): correct it or fetch the file again`);
      }
      return { theta, scaling: { kind: "llama3", factor: need("factor"), lowFreqFactor, highFreqFactor, originalMaxPositions: need("original_max_position_embeddings") } };
    }
    default:
      throw unsupported(file, `${field} of type ${kind} is not supported, only default, linear and llama3 are`);
  }
}
