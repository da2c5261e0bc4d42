/** What the front door serves: a model's text side (tokenizer, template, stop tokens), and what the cluster makes of it. */
import type { Assistant } from "../model/assistant.js";

export interface ServedModel {
  /** As clients name it; may contain slashes. */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** Longest sequence in tokens that the ring takes, prompt and answer together. */
  readonly contextMax: number;
  /** Changes whenever the same seed might give another answer: model, numerics, engine, version. */
  readonly fingerprint: string;
  readonly assistant: Assistant;
}

export interface ModelDirectory {
  list(): readonly ServedModel[];
  find(id: string): ServedModel | undefined;
}
