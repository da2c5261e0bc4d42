/**
 * The bytes that a token stands for. A token is not text: byte-level BPE and byte fallback cut UTF-8 characters anywhere, so text exists
 * only for a run of tokens. Everything that emits text (`stream-decoder.ts`), reports `bytes` or builds a grammar starts from here.
 *
 * Reads the `decoder` of `tokenizer.json` once and turns it into a function of one token. Decoders whose output for a token
 * depends on its neighbours (WordPiece, CTC) are not those of language models and are refused.
 * Deliberately without `clean_up_tokenization_spaces`: it edits what the model wrote and cannot be undone in a stream.
 */
import { z } from "zod";
import { MinidError } from "../core/errors.js";

export interface TokenBytes {
  /** @param token as the vocabulary spells it; not an added token. */
  bytes(token: string): Uint8Array;
  /** Spaces that the decoder takes away at the very beginning of a text (SentencePiece puts one there). */
  readonly leadingSpaces: number;
}

interface DecoderConfig {
  readonly type: string;
  readonly decoders?: DecoderConfig[] | undefined;
  readonly pattern?: { readonly String?: string | undefined; readonly Regex?: string | undefined } | undefined;
  readonly content?: string | undefined;
  readonly start?: number | undefined;
  readonly stop?: number | undefined;
  readonly replacement?: string | undefined;
  readonly prepend_scheme?: string | undefined;
}

const decoderSchema: z.ZodType<DecoderConfig> = z.lazy(() => z.looseObject({
  type: z.string(),
  decoders: z.array(decoderSchema).optional(),
  pattern: z.looseObject({ String: z.string().optional(), Regex: z.string().optional() }).optional(),
  content: z.string().optional(),
  start: z.int().min(0).optional(),
  stop: z.int().min(0).optional(),
  replacement: z.string().optional(),
  prepend_scheme: z.string().optional(),
}));

const utf8 = new TextEncoder();

/** @param decoder the field of `tokenizer.json`. @param file its path, for messages. @throws MinidError model_unsupported */
export function tokenBytesOf(decoder: unknown, file: string): TokenBytes {
  const parsed = decoderSchema.safeParse(decoder);
  if (!parsed.success) throw refused(file, "without a valid decoder");
  const steps = flatten(parsed.data);
  let leadingSpaces = 0;
  let fused = false;
  let byteLevel = false;
  let byteFallback = false;
  const replacements: { readonly pattern: string | RegExp; readonly content: string }[] = [];
  for (const step of steps) {
    switch (step.type) {
      case "ByteLevel": byteLevel = true; break;
      case "ByteFallback": byteFallback = true; break;
      case "Fuse": fused = true; break;
      case "Metaspace":
        replacements.push({ pattern: step.replacement ?? "▁", content: " " });
        if (step.prepend_scheme !== "never") leadingSpaces = 1;
        break;
      case "Replace": {
        const pattern = step.pattern?.String ?? (step.pattern?.Regex === undefined ? undefined : new RegExp(step.pattern.Regex, "gu"));
        if (pattern === undefined || fused) throw refused(file, "with a Replace decoder that minid does not know");
        replacements.push({ pattern, content: step.content ?? "" });
        break;
      }
      case "Strip":
        if (!fused || step.content !== " " || (step.stop ?? 0) !== 0) throw refused(file, "with a Strip decoder that minid does not know");
        leadingSpaces = step.start ?? 0;
        break;
      default:
        throw refused(file, `with decoder ${step.type}`);
    }
  }
  const replaced = (token: string): string => replacements.reduce((text, { pattern, content }) => text.replaceAll(pattern, content), token);
  return {
    leadingSpaces,
    bytes(token) {
      if (byteLevel) return byteLevelBytes(token) ?? utf8.encode(token);
      const byte = byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1] : undefined;
      return byte === undefined ? utf8.encode(replaced(token)) : Uint8Array.of(Number.parseInt(byte, 16));
    },
  };
}

const flatten = (decoder: DecoderConfig): DecoderConfig[] => (decoder.type === "Sequence" ? (decoder.decoders ?? []).flatMap(flatten) : [decoder]);

const refused = (file: string, what: string): MinidError =>
  new MinidError("model_unsupported", `${file}: a tokenizer ${what} is not supported: choose a model with a byte-level or SentencePiece BPE tokenizer`);

/** GPT-2's table: printable bytes stand for themselves, the others for the code points from 256 on, in order. */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const table = new Map<string, number>();
  const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    table.set(String.fromCodePoint(printable(byte) ? byte : next), byte);
    if (!printable(byte)) next += 1;
  }
  return table;
})();

/** @returns undefined for a token with a character that is no byte: it is text as it stands. */
function byteLevelBytes(token: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOfCharacter.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
