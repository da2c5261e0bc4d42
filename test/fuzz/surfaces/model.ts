/** A model's files: what a stranger put on a hub. And a model's words, which are as strange. */
import { CallScanner } from "../../../src/api/output/call-scanner.js";
import { ReasoningParser } from "../../../src/api/output/reasoning.js";
import { ToolCallParser } from "../../../src/api/output/tool-calls.js";
import { StopBuffer } from "../../../src/api/stop-buffer.js";
import { familyOf } from "../../../src/model/families/index.js";
import { checkPart } from "../../../src/api/structured/grammar.js";
import { Automaton, dead } from "../../../src/model/grammar/automaton.js";
import { type GrammarPart, grammarExpr } from "../../../src/model/grammar/grammar.js";
import { quantizationOf } from "../../../src/model/quantization.js";
import { parseHeader } from "../../../src/model/safetensors.js";
import { StreamDecoder } from "../../../src/model/stream-decoder.js";
import { tokenizerOf } from "../../../src/model/tokenizer.js";
import type { Random } from "../../chaos/random.js";
import { below, bytes, mutateBytes, mutatedJson, mutatedJsonText, number, text } from "../mutate.js";
import { Fault, type Surface, refusalOrResult } from "../surface.js";

const safetensors: Surface = {
  name: "safetensors", about: "headers of weight files", cases: 120_000, slice: 300,
  open: () => {
    const sound = {
      __metadata__: { format: "mlx" }, "model.embed_tokens.weight": { dtype: "U32", shape: [64, 8], data_offsets: [0, 2_048] }, "model.embed_tokens.scales": { dtype: "BF16", shape: [64, 1], data_offsets: [2_048, 2_176] },
      "model.norm.weight": { dtype: "F32", shape: [32], data_offsets: [2_176, 2_304] }, "layers.0.bias": { dtype: "F16", shape: [0], data_offsets: [2_304, 2_304] },
    };
    return {
      run: (random) => {
        const header = Buffer.from(random.chance(0.05) ? bytes(random, below(random, 100)) : mutatedJsonText(random, sound));
        const size = random.chance(0.9) ? 8 + header.length + 2_304 : Math.abs(number(random));
        const tensors = refusalOrResult(() => parseHeader("model.safetensors", "/real", header, size));
        for (const { name, offset, byteLength, shape } of tensors?.values() ?? []) {
          if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(byteLength) || offset < 8 + header.length || offset + byteLength > size) throw new Fault(`${name} lies at ${offset}, ${byteLength} bytes, of a file of ${size}`);
          if (shape.some((dimension) => !Number.isSafeInteger(dimension) || dimension < 0)) throw new Fault(`${name} has the shape ${shape.join("x")}`);
        }
      },
    };
  },
};

const configJson: Surface = {
  name: "model-config", about: "config.json of checkpoints", cases: 80_000, slice: 300,
  open: () => {
    const sound = ["llama", "qwen2", "qwen3", "mistral"].map((family) => ({
      model_type: family, hidden_size: 64, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, intermediate_size: 128, vocab_size: 512, max_position_embeddings: 512, rms_norm_eps: 1e-6,
      rope_theta: 10_000, rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 256 }, tie_word_embeddings: true, hidden_act: "silu",
      quantization: { group_size: 64, bits: 8, "model.layers.0": { group_size: 32, bits: 4 } }, sliding_window: null, use_sliding_window: false, attention_bias: false,
    }));
    return {
      run: (random) => {
        const changed = mutatedJson(random, random.pick(sound));
        refusalOrResult(() => quantizationOf(changed, "config.json"));
        const spec = refusalOrResult(() => familyOf(changed, "config.json").spec(changed, "config.json"));
        if (!spec) return;
        for (const [name, value] of Object.entries({ hiddenSize: spec.hiddenSize, layerCount: spec.layerCount, headDim: spec.headDim, vocabSize: spec.vocabSize, kvHeadCount: spec.kvHeadCount })) {
          if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 30) throw new Fault(`${name} is ${value}`);
        }
        if (!(spec.rope.theta > 0) || !Number.isFinite(spec.rope.theta) || !(spec.rmsNormEps > 0)) throw new Fault(`theta ${spec.rope.theta}, epsilon ${spec.rmsNormEps}`);
      },
    };
  },
};

/** Small tokenizers of the kinds in use. */
const letters = Array.from("abcdefghijklmnopqrstuvwxyzĠĊ.,!?'0123456789");
const added = [{ id: 100, content: "<s>", special: true }, { id: 101, content: "</s>", special: true }, { id: 102, content: "<|im_end|>", special: true, normalized: false, single_word: false, lstrip: false, rstrip: false }];
const tokenizers: readonly object[] = [
  {
    version: "1.0", added_tokens: added, normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Lowercase" }, { type: "Replace", pattern: { String: "x" }, content: "y" }] },
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, { type: "Split", pattern: { Regex: "\\p{L}+|\\s+" }, behavior: "Isolated", invert: false }, { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true }] },
    post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: { "<s>": { id: "<s>", ids: [100], tokens: ["<s>"] } } },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", unk_token: null, byte_fallback: false, vocab: Object.fromEntries([...letters, "th", "the", "Ġt"].map((token, index) => [token, index])), merges: ["t h", "th e", "Ġ t"] },
  },
  {
    version: "1.0", added_tokens: added, normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
    decoder: { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }] },
    model: { type: "Unigram", unk_id: 0, byte_fallback: true, vocab: [["<unk>", 0], ["▁", -1], ...letters.map((letter, index) => [letter, -2 - index]), ["▁the", -1.5]] },
  },
  { version: "1.0", added_tokens: added, normalizer: { type: "BertNormalizer", clean_text: true, lowercase: true }, pre_tokenizer: { type: "BertPreTokenizer" }, decoder: { type: "WordPiece", prefix: "##", cleanup: true }, model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab: { "[UNK]": 0, the: 1, "##s": 2, a: 3 } } },
];

const tokenizer: Surface = {
  name: "tokenizer", about: "tokenizer.json and tokenizer_config.json, and texts through what comes of them", cases: 20_000, slice: 60,
  open: () => ({
    run: (random) => {
      const made = refusalOrResult(() => tokenizerOf(random.chance(0.8) ? mutatedJson(random, random.pick(tokenizers)) : random.pick(tokenizers), mutatedJson(random, { bos_token: "<s>", eos_token: { content: "</s>" }, chat_template: "{{ messages }}" }), "model"));
      if (!made) return;
      const words = `The cats, 12 of them. ${text(random)}<|im_end|>`;
      const ids = refusalOrResult(() => made.encode(words, random.chance(0.5))) ?? [];
      if (ids.some((id) => !Number.isInteger(id))) throw new Fault(`a token is ${ids.find((id) => !Number.isInteger(id))}`);
      made.decode(ids);
      made.decode([0, 5, 101, 2 ** 31, -1, ...ids], { keepSpecial: true });
    },
  }),
};

const pieces = ["<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "{", "}", "[", "]", "\"", "\\", "\\u12", ":", ",", "\"name\"", "\"arguments\"", "\"parameters\"", "f", "1e5", "null", "\n", " ", "é", "🦊", "\uD83E"];
const said = (random: Random): string => Array.from({ length: below(random, 40) }, () => (random.chance(0.9) ? random.pick(pieces) : text(random))).join("");

function chopped(random: Random, whole: string): string[] {
  const parts: string[] = [];
  for (let at = 0; at < whole.length;) {
    const next = at + 1 + below(random, 9);
    parts.push(whole.slice(at, next));
    at = next;
  }
  return parts;
}

const output: Surface = {
  name: "model-output", about: "what a model may say: calls, thoughts and stop strings, however it is cut", cases: 180_000, slice: 300,
  open: () => ({
    run: (random) => {
      const whole = said(random);
      const format = random.pick(["hermes", "mistral", "llama"] as const);
      const read = (parts: readonly string[]) => {
        let count = 0;
        const parser = new ReasoningParser(false, new ToolCallParser(format, () => String(count++)));
        const deltas = [...parts.flatMap((part) => [...parser.push(part)]), ...parser.end()];
        return JSON.stringify(deltas.reduce<{ kind: string; text: string }[]>((all, delta) => {
          const [kind, words] = delta.kind === "call" ? [`call ${delta.name}`, ""] : [delta.kind, delta.text];
          const last = all.at(-1);
          if (last && last.kind === kind && delta.kind !== "call") last.text += words;
          else all.push({ kind, text: words });
          return all;
        }, []));
      };
      const once = read([whole]);
      const cut = read(chopped(random, whole));
      if (once !== cut) throw new Fault(`${JSON.stringify(whole)} in ${format} is read as ${once}, and in pieces as ${cut}`);
      const stops = [random.pick(pieces), random.pick(pieces) + random.pick(pieces)];
      const stopped = (parts: readonly string[]) => {
        const buffer = new StopBuffer(stops);
        let out = "";
        for (const part of parts) {
          const { text: released, stopped: over } = buffer.push(part);
          out += released;
          if (over) return out;
        }
        return out + buffer.flush();
      };
      const bounded = stopped(chopped(random, whole));
      if (!whole.startsWith(bounded) || stops.some((stop) => bounded.includes(stop))) throw new Fault(`${JSON.stringify(stops)} leave ${JSON.stringify(bounded)} of ${JSON.stringify(whole)}`);
      new CallScanner(() => undefined, () => undefined).push(whole);
      const tokenBytes = Array.from({ length: below(random, 20) }, () => bytes(random, below(random, 4)));
      const decoder = new StreamDecoder((token) => tokenBytes[token]!, below(random, 2));
      const decoded = tokenBytes.map((_, token) => decoder.push(token)).join("") + decoder.flush();
      if (/[\uD800-\uDBFF](?![\uDC00-\uDFFF])/u.test(decoded)) throw new Fault("half a character came out");
    },
  }),
};

const grammar: Surface = {
  name: "schema", about: "JSON schemas and patterns of clients, compiled to grammars", cases: 15_000, slice: 60,
  open: () => {
    const schema = {
      type: "object", properties: { a: { type: "string", pattern: "^[a-z]{1,4}(x|y)*$", minLength: 1 }, b: { type: "integer", minimum: -5, maximum: 10 }, c: { type: "array", items: { $ref: "#/$defs/d" }, minItems: 1, maxItems: 3 }, e: { anyOf: [{ const: 1 }, { enum: ["x", null] }] }, f: { type: "number", exclusiveMinimum: 0.5 }, g: { type: "string", format: "date-time" } },
      required: ["a", "c"], additionalProperties: false, $defs: { d: { type: "object", properties: { next: { $ref: "#/$defs/d" } }, additionalProperties: false } },
    };
    const patternParts = ["a", "[a-z]", "[^\\d]", "(", ")", "|", "*", "+", "?", "{2,5}", "{1000000}", "\\w", "\\p{L}", "^", "$", ".", "\\u{1F600}", "(?:", "(?=", "\\1", "[", "]", "🦊", "-"];
    const ebnfParts = ["root ::= ", "a ::= ", "a", "root", "\"x\"", "[a-z]", "[^\"]", " | ", "*", "+", "?", "{1,3}", "(", ")", "\n", " ", "#c\n", "::=", "\\u{1F600}"];
    return {
      run: (random) => {
        const made = (parts: readonly string[], count: number) => Array.from({ length: below(random, count) }, () => random.pick(parts)).join("");
        const part: GrammarPart = random.chance(0.5) ? { kind: "schema", schema: mutatedJson(random, schema) }
          : random.chance(0.6) ? { kind: "regex", pattern: made(patternParts, 16) } : { kind: "ebnf", grammar: made(ebnfParts, 30) };
        if (refusalOrResult(() => { checkPart(part, "response_format"); return true; }) === undefined) return;
        // What a front door lets pass, a worker follows byte for byte.
        const automaton = new Automaton(grammarExpr(part), 16);
        for (let state = automaton.start, at = 0; state !== dead && at < 30; at += 1) {
          automaton.makeRoom();
          state = automaton.step(automaton.start === state && at > 0 ? automaton.start : state, random.chance(0.8) ? 32 + below(random, 95) : below(random, 256));
        }
      },
    };
  },
};

const safeIndex: Surface = {
  name: "file-bytes", about: "bytes where JSON is expected: the parsers of a model's files", cases: 180_000, slice: 60,
  open: () => {
    const sound = Buffer.from(JSON.stringify({ metadata: { total_size: 5 }, weight_map: { "model.norm.weight": "model-00001-of-00002.safetensors" }, "a\"b": { dtype: "F32", shape: [1], data_offsets: [0, 4] } }));
    return { run: (random) => { refusalOrResult(() => parseHeader("x", "/x", mutateBytes(random, sound), 10_000)); } };
  },
};

export const modelSurfaces: readonly Surface[] = [safetensors, configJson, tokenizer, output, grammar, safeIndex];
