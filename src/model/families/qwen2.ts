/** Qwen 2 and 2.5: llama with a bias on q, k and v (always, whatever `attention_bias` says) and none on o. */
import { z } from "zod";
import { commonConfig, parseFields, specOf } from "../config.js";
import { llamaNames } from "./family.js";
import type { Family } from "./family.js";
import { refuseActiveWindow } from "./sliding-window.js";

const qwen2Config = commonConfig.extend({
  use_sliding_window: z.boolean().nullish(),
  sliding_window: z.int().min(1).nullish(),
});

export const qwen2: Family = {
  modelType: "qwen2",
  names: llamaNames,
  spec(raw, file) {
    const config = parseFields(qwen2Config, raw, file);
    if (config.use_sliding_window === true) refuseActiveWindow(config.sliding_window, config.max_position_embeddings, file);
    return specOf(config, { bias: { qkv: true, o: false, mlp: false }, qkNorm: false, tiedByDefault: false, ropeThetaByDefault: 10_000 }, file);
  },
};
