/**
 * A model's tokenizer: `tokenizer.json` through @huggingface/tokenizers for encoding, `token-bytes.ts` for the way back.
 * Decoding a list and streaming its tokens give the same text, because the first is made of the second.
 */
import { join } from "node:path";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { MinidError } from "../core/errors.js";
import { parseFields, readJson } from "./config.js";
import { StreamDecoder } from "./stream-decoder.js";
import { tokenBytesOf } from "./token-bytes.js";
import type { TokenBytes } from "./token-bytes.js";

/** A special token in `tokenizer_config.json`: its text, or the fields of an added token. */
const specialToken = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({
  bos_token: specialToken,
  eos_token: specialToken,
  pad_token: specialToken,
  unk_token: specialToken,
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]).nullish(),
});
export type TokenizerConfig = z.infer<typeof tokenizerConfigSchema>;

const tokenizerSchema = z.looseObject({
  model: z.looseObject({}),
  decoder: z.unknown(),
  added_tokens: z.array(z.looseObject({ id: z.int().min(0), content: z.string(), special: z.boolean().optional() })).default([]),
});

export interface DecodeOptions {
  /** Leaves special tokens (`<|im_end|>`) in the text. Default false. */
  readonly keepSpecial?: boolean;
  /** The tokens go on from other text: a leading space is part of it. Default false. */
  readonly continues?: boolean;
}

/** Words, digits, a line, punctuation, an emoji. */
const sample = "The 12 cats,\nÆ 🦊.";

interface AddedToken { readonly id: number; readonly content: string; readonly special?: boolean | undefined }

export class Tokenizer {
  /** `tokenizer_config.json`, {} where there is none. */
  readonly config: TokenizerConfig;
  /** One more than the highest token id. The model's logits may be wider (padding) and must not be sampled past this. */
  readonly vocabSize: number;
  readonly #inner: HuggingFaceTokenizer;
  readonly #tokenBytes: TokenBytes;
  /** Added tokens by id: they stand for their text as it is. */
  readonly #added: ReadonlyMap<number, { readonly bytes: Uint8Array; readonly special: boolean }>;

  constructor(inner: HuggingFaceTokenizer, config: TokenizerConfig, tokenBytes: TokenBytes, added: readonly AddedToken[]) {
    this.#inner = inner;
    this.config = config;
    this.#tokenBytes = tokenBytes;
    const utf8 = new TextEncoder();
    this.#added = new Map(added.map(token => [token.id, { bytes: utf8.encode(token.content), special: token.special ?? false }]));
    this.vocabSize = [...inner.get_vocab().values()].reduce((highest, id) => Math.max(highest, id), -1) + 1;
  }

  /**
   * @param text plain text or a rendered chat template; special tokens written in it become tokens. @param addSpecial adds what the tokenizer puts around a text (BOS): not for rendered templates.
   * @throws MinidError model_unsupported where the tokenizer's rules, which are read no earlier than they are applied, make no sense for this text
   */
  encode(text: string, addSpecial: boolean): number[] {
    try {
      // A piece outside a vocabulary without an unknown token comes back as undefined; the Rust library drops it.
      return this.#inner.encode(text, { add_special_tokens: addSpecial }).ids.filter(Number.isInteger);
    } catch (thrown) { throw unsupported("tokenizer.json", thrown); }
  }

  decode(tokens: readonly number[], options: DecodeOptions = {}): string {
    const decoder = this.streamDecoder(options);
    return tokens.map(token => decoder.push(token)).join("") + decoder.flush();
  }

  streamDecoder(options: DecodeOptions = {}): StreamDecoder {
    const bytesOf = (token: number): Uint8Array => (options.keepSpecial !== true && this.isSpecial(token) ? new Uint8Array() : this.tokenBytes(token));
    return new StreamDecoder(bytesOf, options.continues === true ? 0 : this.#tokenBytes.leadingSpaces);
  }

  /** The bytes that a token stands for; empty for an id without a token. */
  tokenBytes(token: number): Uint8Array {
    const added = this.#added.get(token);
    if (added !== undefined) return added.bytes;
    const spelling = this.#inner.id_to_token(token);
    return spelling === undefined ? new Uint8Array() : this.#tokenBytes.bytes(spelling);
  }

  /** A token alone as text; bytes of an incomplete character show as U+FFFD. */
  tokenText(token: number): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.tokenBytes(token));
  }

  isSpecial(token: number): boolean {
    return this.#added.get(token)?.special ?? false;
  }

  /** @param content a token exactly as the vocabulary spells it. */
  tokenId(content: string): number | undefined {
    return this.#inner.token_to_id(content);
  }
}

/** @throws MinidError model_unreadable | model_corrupt | model_unsupported */
export async function openTokenizer(directory: string): Promise<Tokenizer> {
  return tokenizerOf(await readJson(join(directory, "tokenizer.json")), await readJsonIfPresent(join(directory, "tokenizer_config.json")), directory);
}

/** @param raw `tokenizer.json`. @param rawConfig `tokenizer_config.json`. @param directory where they are, for messages. @throws MinidError model_corrupt | model_unsupported */
export function tokenizerOf(raw: unknown, rawConfig: unknown, directory: string): Tokenizer {
  const file = join(directory, "tokenizer.json");
  const { added_tokens: added, decoder } = parseFields(tokenizerSchema, raw, file);
  const config = parseFields(tokenizerConfigSchema, rawConfig, join(directory, "tokenizer_config.json"));
  const tokenBytes = tokenBytesOf(decoder, file);
  let inner: HuggingFaceTokenizer;
  try {
    inner = new HuggingFaceTokenizer(raw, config);
    // Rules that cannot be applied show here and not in the first request.
    for (const add_special_tokens of [true, false]) inner.encode(sample, { add_special_tokens });
  } catch (thrown) {
    throw unsupported(file, thrown);
  }
  return new Tokenizer(inner, config, tokenBytes, added);
}

const unsupported = (file: string, thrown: unknown): MinidError =>
  new MinidError("model_unsupported", `${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}: choose another model, or fetch the file again if it is damaged`, { cause: thrown });

/** {} for a file that is not there. */
export async function readJsonIfPresent(file: string): Promise<unknown> {
  try {
    return await readJson(file);
  } catch (thrown) {
    if (thrown instanceof MinidError && thrown.cause instanceof Error && "code" in thrown.cause && thrown.cause.code === "ENOENT") return {};
    throw thrown;
  }
}

/** The text of `bos_token`, `eos_token` … */
export function specialTokenText(token: TokenizerConfig["bos_token"]): string | undefined {
  return typeof token === "object" && token !== null ? token.content : token ?? undefined;
}
