/** Mistral: llama's shape, often with `head_dim` differing from hidden/heads, and in its first version a sliding window. */
import { z } from "zod";
import { commonConfig, parseFields, specOf } from "../config.js";
import { llamaNames } from "./family.js";
import type { Family } from "./family.js";
import { refuseActiveWindow } from "./sliding-window.js";

const mistralConfig = commonConfig.extend({ sliding_window: z.int().min(1).nullish() });

export const mistral: Family = {
  modelType: "mistral",
  names: llamaNames,
  spec(raw, file) {
    const config = parseFields(mistralConfig, raw, file);
    refuseActiveWindow(config.sliding_window, config.max_position_embeddings, file);
    return specOf(config, { bias: { qkv: false, o: false, mlp: false }, qkNorm: false, tiedByDefault: false, ropeThetaByDefault: 10_000 }, file);
  },
};
