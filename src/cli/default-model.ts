/**
 * The model that serves where nobody chose one. A checkout has it in `models/`; the npm package leaves it out (143 MB), and there the
 * same assistant comes from the hub, once: so `npm install -g` and `minid up` are enough.
 */
import type { Config } from "../daemon/config/table.js";
import { defaultModelId, resolveModel } from "../model/store.js";

/** The original of the embedded model, in bfloat16. */
export const hubDefaultModelId = "HuggingFaceTB/SmolLM2-135M-Instruct";

export interface ModelChoice {
  /** The setting to run with. */
  readonly model: string;
  /** Its id on the hub when it is not on this machine and may be fetched unasked. */
  readonly pull: string | undefined;
}

/** A model that somebody named is never fetched unasked: a typing error must not become a download. */
export async function chooseModel(config: Config, home: string): Promise<ModelChoice> {
  const here = (name: string): Promise<boolean> => resolveModel(name, home).then(() => true, () => false);
  if (config.model !== defaultModelId || await here(config.model)) return { model: config.model, pull: undefined };
  return { model: hubDefaultModelId, pull: await here(hubDefaultModelId) ? undefined : hubDefaultModelId };
}
