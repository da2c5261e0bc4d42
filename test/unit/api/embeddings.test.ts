import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { encode, expectError, frontDoor, modelId, ScriptedGenerator, smolModel } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const hiddenSize = 576;
/** The prompt's length and its first token, then zeros. */
const vectorOf = (prompt: readonly number[]): number[] => [prompt.length, prompt[0]!, ...Array.from({ length: hiddenSize - 2 }, () => 0)];
const embedder = () => {
  let atOnce = 0;
  const peak = { value: 0 };
  const generator = new ScriptedGenerator(async function* script({ prompt }) {
    atOnce += 1;
    peak.value = Math.max(peak.value, atOnce);
    await new Promise((resolve) => { setImmediate(resolve); });
    atOnce -= 1;
    yield { kind: "admitted", cachedPromptTokens: 0 };
    yield { kind: "finished", reason: "stop", cachedPromptTokens: 0, embedding: vectorOf(prompt) };
  });
  return { generator, peak };
};

interface Body { data: { embedding: number[] | string; index: number; object: string }[]; usage: object; object: string; model: string }
async function post(body: object, generator = embedder().generator, served = model) {
  const response = await frontDoor(served, generator).inject({ method: "POST", url: "/v1/embeddings", payload: { model: modelId, ...body } });
  return { status: response.statusCode, json: () => response.json<Body>() };
}
const unit = (prompt: readonly number[]) => { const length = Math.hypot(prompt.length, prompt[0]!); return [Math.fround(prompt.length / length), Math.fround(prompt[0]! / length)]; };

describe("POST /v1/embeddings", () => {
  it("gives one vector of length 1 for each input, in their order, with usage", async () => {
    const texts = ["one", "two words", "three more words"];
    const prompts = texts.map((text) => encode(model, text));
    const answer = (await post({ input: texts })).json();
    expect(answer).toMatchObject({ object: "list", model: modelId, usage: { prompt_tokens: prompts.flat().length, total_tokens: prompts.flat().length } });
    expect(answer.data.map(({ index, object }) => [index, object])).toEqual([[0, "embedding"], [1, "embedding"], [2, "embedding"]]);
    for (const [index, { embedding }] of answer.data.entries()) {
      expect(embedding).toHaveLength(hiddenSize);
      expect(embedding.slice(0, 2)).toEqual(unit(prompts[index]!));
    }
  });

  it("takes a text, tokens, and several of either", async () => {
    for (const [input, count] of [["one", 1], [[5, 6, 7], 1], [["one", "two"], 2], [[[5], [6, 7]], 2]] as const) {
      const { generator } = embedder();
      expect((await post({ input }, generator)).json().data).toHaveLength(count);
      expect(generator.requests[0]).toMatchObject({ pooling: "mean", emitted: [] });
    }
  });

  it("cuts dimensions off and scales what is left", async () => {
    const [one] = (await post({ input: [[7, 8]], dimensions: 1 })).json().data;
    expect(one!.embedding).toEqual([1]);
  });

  it("encodes as base64 of little-endian float32", async () => {
    const [whole, encoded] = [(await post({ input: "one" })).json(), (await post({ input: "one", encoding_format: "base64" })).json()];
    const bytes = Buffer.from(encoded.data[0]!.embedding as string, "base64");
    expect(Array.from({ length: hiddenSize }, (_, at) => bytes.readFloatLE(at * 4))).toEqual(whole.data[0]!.embedding);
  });

  it("hands many inputs to the scheduler a few at a time", async () => {
    const { generator, peak } = embedder();
    expect((await post({ input: Array.from({ length: 100 }, (_, at) => [at + 1]) }, generator)).json().data.map(({ index }) => index)).toEqual(Array.from({ length: 100 }, (_, at) => at));
    expect(peak.value).toBe(16);
  });

  it("refuses what cannot be embedded, naming the input", async () => {
    for (const [body, code, param] of [
      [{}, "missing_required_parameter", "input"], [{ input: "" }, "invalid_value", "input"], [{ input: [] }, "invalid_value", "input"], [{ input: ["a", ""] }, "invalid_value", "input[1]"],
      [{ input: [1, -2] }, "invalid_value", "input[1]"], [{ input: [[1], [49_152]] }, "invalid_value", "input[1]"], [{ input: "a", dimensions: 577 }, "invalid_value", "dimensions"],
      [{ input: "a", dimensions: 0 }, "invalid_value", "dimensions"], [{ input: "a", encoding_format: "hex" }, "invalid_value", "encoding_format"], [{ input: "a", stream: true }, "unknown_parameter", "stream"],
      [{ input: ["a", Array.from({ length: 9_000 }, () => "word").join(" ")] }, "context_length_exceeded", "input[1]"],
      [{ input: Array.from({ length: 2_049 }, () => "a") }, "invalid_value", "input"], [{ input: { text: "a" } }, "invalid_value", "input"],
    ] as const) {
      const { generator } = embedder();
      expectError(await post(body, generator), 400, code, param);
      expect(generator.requests).toEqual([]);
    }
    expectError(await post({ input: "a", model: "other" }), 404, "model_not_found", "model");
  });

  it("refuses a model whose own pooling minid does not have", async () => {
    const served = { ...model, assistant: { ...model.assistant, embedding: { kind: "unsupported", why: "its embeddings are pooled by pooling_mode_cls_token" } as const } };
    expectError(await post({ input: "a" }, embedder().generator, served), 400, "unsupported_parameter", "model");
  });
});
