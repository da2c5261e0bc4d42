/** Llama 1 to 3.x, SmolLM and everything else that calls itself `llama`. */
import { z } from "zod";
import { commonConfig, parseFields, specOf } from "../config.js";
import { llamaNames } from "./family.js";
import type { Family } from "./family.js";

const llamaConfig = commonConfig.extend({
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
});

export const llama: Family = {
  modelType: "llama",
  names: llamaNames,
  spec(raw, file) {
    const config = parseFields(llamaConfig, raw, file);
    const attention = config.attention_bias ?? false;
    return specOf(config, {
      bias: { qkv: attention, o: attention, mlp: config.mlp_bias ?? false },
      qkNorm: false,
      tiedByDefault: false,
      ropeThetaByDefault: 10_000,
    }, file);
  },
};
