/**
 * What a family is: how its `config.json` becomes a `ModelSpec`, and what its checkpoint calls each tensor.
 * A new family is one small file with one of these, listed in `index.ts`.
 */
import type { ModelSpec } from "../spec.js";

/** Names of modules; a linear module's tensors are `NAME.weight` and, where they apply, `.bias`, `.scales`, `.biases`. */
export interface LayerNames {
  readonly inputNorm: string;
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  readonly qNorm: string;
  readonly kNorm: string;
  readonly postAttentionNorm: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export interface TensorNames {
  readonly embedding: string;
  readonly finalNorm: string;
  readonly head: string;
  layer(index: number): LayerNames;
}

export interface Family {
  /** `model_type` in `config.json`. */
  readonly modelType: string;
  readonly names: TensorNames;
  /** @param file the config's path, for messages. @throws MinidError model_corrupt | model_unsupported that names the field. */
  spec(config: unknown, file: string): ModelSpec;
}

/** What Hugging Face's llama calls its tensors, and nearly everyone after it. */
export const llamaNames: TensorNames = {
  embedding: "model.embed_tokens",
  finalNorm: "model.norm",
  head: "lm_head",
  layer(index) {
    const layer = `model.layers.${index}`;
    return {
      inputNorm: `${layer}.input_layernorm`,
      q: `${layer}.self_attn.q_proj`,
      k: `${layer}.self_attn.k_proj`,
      v: `${layer}.self_attn.v_proj`,
      o: `${layer}.self_attn.o_proj`,
      qNorm: `${layer}.self_attn.q_norm`,
      kNorm: `${layer}.self_attn.k_norm`,
      postAttentionNorm: `${layer}.post_attention_layernorm`,
      gate: `${layer}.mlp.gate_proj`,
      up: `${layer}.mlp.up_proj`,
      down: `${layer}.mlp.down_proj`,
    };
  },
};
