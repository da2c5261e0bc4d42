/** What a front door needs of a model, opened without touching its weights: spec, tokenizer, chat template, stop tokens, defaults. */
import { join } from "node:path";
import { z } from "zod";
import { parseFields, readJson } from "./config.js";
import { openChatTemplate } from "./chat-template.js";
import type { ChatTemplate } from "./chat-template.js";
import { familyOf } from "./families/index.js";
import { type EmbeddingRule, readEmbeddingRule } from "./pooling.js";
import type { ModelSpec } from "./spec.js";
import { stopTokensOf } from "./stop-tokens.js";
import { openTokenizer, readJsonIfPresent } from "./tokenizer.js";
import type { Tokenizer } from "./tokenizer.js";

/** Sampling that the model's authors recommend, where `generation_config.json` says so; a request's own values win. */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

export interface Assistant {
  readonly directory: string;
  readonly spec: ModelSpec;
  readonly tokenizer: Tokenizer;
  /** Undefined for a model that only completes text. */
  readonly template: ChatTemplate | undefined;
  /** Ascending. */
  readonly stopTokens: readonly number[];
  readonly defaults: GenerationDefaults;
  readonly embedding: EmbeddingRule;
}

const eosTokenId = z.union([z.int().min(0), z.array(z.int().min(0))]).nullish();
const eosSchema = z.looseObject({ eos_token_id: eosTokenId });
const generationSchema = z.looseObject({
  eos_token_id: eosTokenId,
  temperature: z.number().min(0).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

/** @throws MinidError model_unreadable | model_corrupt | model_unsupported */
export async function openAssistant(directory: string): Promise<Assistant> {
  const configFile = join(directory, "config.json");
  const generationFile = join(directory, "generation_config.json");
  const config = await readJson(configFile);
  const spec = familyOf(config, configFile).spec(config, configFile);
  const generation = parseFields(generationSchema, await readJsonIfPresent(generationFile), generationFile);
  const tokenizer = await openTokenizer(directory);
  const template = await openChatTemplate(directory, tokenizer.config);
  const eos = parseFields(eosSchema, config, configFile);
  return {
    directory,
    spec,
    tokenizer,
    template,
    stopTokens: stopTokensOf(tokenizer, template, [generation.eos_token_id, eos.eos_token_id]),
    defaults: {
      ...present("temperature", generation.temperature),
      ...present("topP", generation.top_p),
      ...present("topK", generation.top_k),
      ...present("minP", generation.min_p),
      ...present("repetitionPenalty", generation.repetition_penalty),
    },
    embedding: await readEmbeddingRule(directory),
  };
}

const present = <K extends string>(key: K, value: number | null | undefined): { [key in K]?: number } =>
  (value === null || value === undefined ? {} : { [key]: value } as { [key in K]: number });
