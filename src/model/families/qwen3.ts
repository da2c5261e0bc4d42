/** Qwen 3 (dense): an RMS norm over each head's q and k, and a `head_dim` of its own. */
import { z } from "zod";
import { commonConfig, parseFields, specOf } from "../config.js";
import { llamaNames } from "./family.js";
import type { Family } from "./family.js";
import { refuseActiveWindow } from "./sliding-window.js";

const qwen3Config = commonConfig.extend({
  attention_bias: z.boolean().nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: z.int().min(1).nullish(),
});

export const qwen3: Family = {
  modelType: "qwen3",
  names: llamaNames,
  spec(raw, file) {
    const config = parseFields(qwen3Config, raw, file);
    if (config.use_sliding_window === true) refuseActiveWindow(config.sliding_window, config.max_position_embeddings, file);
    const attention = config.attention_bias ?? false;
    return specOf(config, {
      bias: { qkv: attention, o: attention, mlp: false },
      qkNorm: true,
      tiedByDefault: false,
      ropeThetaByDefault: 1_000_000,
    }, file);
  },
};
