/**
 * How a model's hidden states become an embedding, as the model's own files declare it (sentence-transformers' `modules.json` and
 * its pooling module's `config.json`), else by our rule: the mean of all tokens. A model that was trained to chat and not to
 * embed has its meaning spread over its tokens; its last one only knows what comes next.
 *
 * Does not refuse a model: one whose declaration cannot be kept serves everything but embeddings, and says why.
 */
import { join } from "node:path";
import { z } from "zod";
import type { Pooling } from "../core/worker-protocol.js";
import { parseFields } from "./config.js";
import { readJsonIfPresent } from "./tokenizer.js";

export type EmbeddingRule =
  | { readonly kind: "pooled"; readonly pooling: Pooling; /** Whether the model's files say so. */ readonly declared: boolean }
  | { readonly kind: "unsupported"; readonly why: string };

const modulesSchema = z.array(z.looseObject({ path: z.string(), type: z.string() }));
const poolingSchema = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
  pooling_mode_max_tokens: z.boolean().default(false),
  pooling_mode_mean_sqrt_len_tokens: z.boolean().default(false),
  pooling_mode_weightedmean_tokens: z.boolean().default(false),
  pooling_mode_lasttoken: z.boolean().default(false),
  include_prompt: z.boolean().default(true),
});

const poolingDirectoryDefault = "1_Pooling";
/** Scaling to unit length comes last here in any case. */
const knownModules: ReadonlySet<string> = new Set(["Transformer", "Pooling", "Normalize"]);

/** @throws MinidError model_unreadable | model_corrupt for files that are there and damaged */
export async function readEmbeddingRule(directory: string): Promise<EmbeddingRule> {
  const modulesFile = join(directory, "modules.json");
  const raw = await readJsonIfPresent(modulesFile);
  // `{}` stands for a file that is not there.
  const modules = Array.isArray(raw) ? parseFields(modulesSchema, raw, modulesFile) : [];
  const nameOf = ({ type }: { readonly type: string }): string => type.slice(type.lastIndexOf(".") + 1);
  const foreign = modules.find((module) => !knownModules.has(nameOf(module)));
  if (foreign) return { kind: "unsupported", why: `its embeddings need a module ${nameOf(foreign)} (modules.json), which minid does not have` };
  const path = modules.find((module) => nameOf(module) === "Pooling")?.path ?? poolingDirectoryDefault;
  // A name from a downloaded file: it stays within the model's directory.
  if (!/^[\w-][\w.-]*$/u.test(path)) return { kind: "unsupported", why: "modules.json gives its pooling module a path outside the model's directory" };
  return await readPooling(join(directory, path, "config.json"));
}

async function readPooling(file: string): Promise<EmbeddingRule> {
  const fields = parseFields(poolingSchema, await readJsonIfPresent(file), file);
  const modes = Object.entries(fields).flatMap(([name, on]) => name.startsWith("pooling_mode_") && on === true ? [name] : []);
  const [mode] = modes;
  if (mode === undefined) return { kind: "pooled", pooling: "mean", declared: false };
  if (modes.length > 1) return { kind: "unsupported", why: `its embeddings put several poolings together (${modes.join(", ")})` };
  if (mode === "pooling_mode_mean_tokens") return { kind: "pooled", pooling: "mean", declared: true };
  if (mode === "pooling_mode_lasttoken") return { kind: "pooled", pooling: "last", declared: true };
  return { kind: "unsupported", why: `its embeddings are pooled by ${mode}; minid has the mean and the last token` };
}
