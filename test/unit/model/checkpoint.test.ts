import { describe, expect, it } from "vitest";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/model/checkpoint.js";

const fixtures = join(import.meta.dirname, "../../fixtures/tiny");
const dense = ["llama-4bit-g32", "llama-8bit-rope3", "qwen2-8bit-bias", "qwen3-4bit-tied", "qwen3-8bit", "qwen3-bf16-tied"];

describe("openCheckpoint", () => {
  it.each(dense)("opens %s", async name => {
    const checkpoint = await openCheckpoint(join(fixtures, name));
    expect(checkpoint.layers).toHaveLength(4);
    expect(checkpoint.spec.headDim).toBe(32);
    expect(checkpoint.head === checkpoint.embedding).toBe(checkpoint.spec.tiedEmbeddings);
    await checkpoint.close();
  });
  it("opens the embedded default model, which is sharded", async () => {
    const checkpoint = await openCheckpoint(join(import.meta.dirname, "../../../models/SmolLM2-135M-Instruct-8bit"));
    const { qkNorm, layerCount } = checkpoint.spec;
    expect({ qkNorm, layerCount }).toEqual({ qkNorm: false, layerCount: 30 });
    await checkpoint.close();
  });
});
