/** Tokenizers of strangers whose rules are nonsense (found by fuzzing): refused when the model is opened, not in somebody's request. */
import { expect, it } from "vitest";
import { MinidError } from "../../../src/core/errors.js";
import { tokenizerOf } from "../../../src/model/tokenizer.js";

const letters = Array.from("abcdefghijklmnopqrstuvwxyzĠĊ.,!?'0123456789");
const sound = {
  version: "1.0", normalizer: null, added_tokens: [{ id: 100, content: "<s>", special: true }],
  pre_tokenizer: { type: "Split", pattern: { Regex: "\\p{L}+|\\s+" }, behavior: "Isolated", invert: false },
  post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: {} },
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", unk_token: null, vocab: Object.fromEntries(letters.map((token, index) => [token, index])), merges: [] },
};

it("takes the sound one", () => {
  expect(tokenizerOf(sound, {}, "model").encode("ab", true)).toEqual([100, 0, 1]);
});

it.each([
  ["a template that is no list", { post_processor: { ...sound.post_processor, single: 7 } }],
  ["a template of no items", { post_processor: { ...sound.post_processor, single: [true] } }],
  ["a template of a number", { post_processor: { ...sound.post_processor, single: [-32_767] } }],
  ["a behaviour that is no name", { pre_tokenizer: { ...sound.pre_tokenizer, behavior: 3 } }],
])("refuses %s, naming the file", (_what, damage) => {
  let thrown: unknown;
  try { tokenizerOf({ ...sound, ...damage }, {}, "model"); } catch (error) { thrown = error; }
  expect(thrown).toBeInstanceOf(MinidError);
  expect(thrown).toMatchObject({ code: "model_unsupported", message: expect.stringContaining("model/tokenizer.json") as string });
});
