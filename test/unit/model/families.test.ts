import { describe, expect, it } from "vitest";
import { families, familyOf } from "../../../src/model/families/index.js";
import type { ModelSpec } from "../../../src/model/spec.js";

const base = {
  model_type: "llama", hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 128,
  vocab_size: 100, max_position_embeddings: 4096, rms_norm_eps: 1e-5, rope_theta: 10_000,
};
const specOf = (fields: Record<string, unknown>): ModelSpec => {
  const config = { ...base, ...fields };
  return familyOf(config, "config.json").spec(config, "config.json");
};

describe("families", () => {
  it("each have a model_type of their own", () => {
    expect(new Set(families.map(family => family.modelType)).size).toBe(families.length);
  });

  it("take head_dim from the config, or from hidden size and heads", () => {
    expect(specOf({}).headDim).toBe(16);
    expect(specOf({ head_dim: null }).headDim).toBe(16);
    expect(specOf({ model_type: "mistral", head_dim: 128 }).headDim).toBe(128);
  });

  it("take as many key-value heads as heads where the config does not say", () => {
    expect(specOf({ num_key_value_heads: undefined }).kvHeadCount).toBe(4);
  });

  it("put biases where their family has them", () => {
    expect(specOf({}).bias).toEqual({ qkv: false, o: false, mlp: false });
    expect(specOf({ attention_bias: true, mlp_bias: true }).bias).toEqual({ qkv: true, o: true, mlp: true });
    expect(specOf({ model_type: "qwen2" }).bias).toEqual({ qkv: true, o: false, mlp: false });
    expect(specOf({ model_type: "qwen2", attention_bias: false }).bias).toEqual({ qkv: true, o: false, mlp: false });
    expect(specOf({ model_type: "qwen3", attention_bias: true }).bias).toEqual({ qkv: true, o: true, mlp: false });
    expect(specOf({ model_type: "mistral" }).bias).toEqual({ qkv: false, o: false, mlp: false });
  });

  it("normalize q and k in qwen3 only", () => {
    expect(families.filter(family => specOf({ model_type: family.modelType }).qkNorm).map(family => family.modelType)).toEqual(["qwen3"]);
  });

  it("read every form of rotary scaling", () => {
    const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };
    const scaled = { kind: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 64 };
    expect(specOf({ rope_scaling: null }).rope).toEqual({ theta: 10_000, scaling: { kind: "none" } });
    expect(specOf({ rope_scaling: { rope_type: "default" } }).rope.scaling).toEqual({ kind: "none" });
    expect(specOf({ rope_scaling: { type: "linear", factor: 4 } }).rope.scaling).toEqual({ kind: "linear", factor: 4 });
    expect(specOf({ rope_scaling: { rope_type: "llama3", ...llama3 } }).rope.scaling).toEqual(scaled);
    expect(specOf({ rope_theta: undefined, rope_parameters: { rope_type: "llama3", rope_theta: 5000, ...llama3 } }).rope).toEqual({ theta: 5000, scaling: scaled });
  });

  it("accept a sliding window only where it can never be active", () => {
    expect(specOf({ model_type: "mistral", sliding_window: null }).maxPositions).toBe(4096);
    expect(specOf({ model_type: "mistral", sliding_window: 4096 }).maxPositions).toBe(4096);
    expect(() => specOf({ model_type: "mistral", sliding_window: 1024 })).toThrow(/sliding_window 1024 is shorter/);
    expect(specOf({ model_type: "qwen2", use_sliding_window: false, sliding_window: 1024 }).maxPositions).toBe(4096);
    expect(() => specOf({ model_type: "qwen2", use_sliding_window: true, sliding_window: 1024 })).toThrow(/sliding_window/);
    expect(() => specOf({ model_type: "qwen3", use_sliding_window: true, sliding_window: 1024 })).toThrow(/sliding_window/);
  });

  it.each([
    [{ hidden_size: "64" }, "model_corrupt", "hidden_size"],
    [{ hidden_size: undefined }, "model_corrupt", "hidden_size"],
    [{ num_hidden_layers: 0 }, "model_corrupt", "num_hidden_layers"],
    [{ num_hidden_layers: 1e9 }, "model_corrupt", "num_hidden_layers"],
    [{ num_key_value_heads: 3 }, "model_corrupt", "num_key_value_heads"],
    [{ hidden_size: 66 }, "model_corrupt", "head_dim"],
    [{ rms_norm_eps: 0 }, "model_corrupt", "rms_norm_eps"],
    [{ tie_word_embeddings: "yes" }, "model_corrupt", "tie_word_embeddings"],
    [{ rope_scaling: { rope_type: "linear" } }, "model_corrupt", "rope_scaling.factor"],
    [{ rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 4, high_freq_factor: 4, original_max_position_embeddings: 64 } }, "model_corrupt", "high_freq_factor"],
    [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, "model_unsupported", "yarn"],
    [{ rope_interleaved: true }, "model_unsupported", "interleaved"],
    [{ partial_rotary_factor: 0.5 }, "model_unsupported", "partial_rotary_factor"],
    [{ hidden_act: "gelu" }, "model_unsupported", "hidden_act"],
    [{ head_dim: 15 }, "model_unsupported", "head_dim"],
  ])("refuse %j by the field's name", (fields, code, says) => {
    expect(() => specOf(fields)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(says) as string }));
  });
});
