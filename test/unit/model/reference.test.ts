import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/model/checkpoint.js";
import { argmax, readReference, relativeError } from "../../../src/model/reference.js";

const fixtures = join(import.meta.dirname, "../../fixtures/tiny");

describe("readReference", () => {
  it("reads every tensor, and the reference agrees with itself", async () => {
    const { spec } = await openCheckpoint(join(fixtures, "qwen3-8bit"));
    const reference = await readReference(join(fixtures, "qwen3-8bit"), spec);
    expect(reference.prompt).toHaveLength(40);
    expect(reference.hidden).toHaveLength(4);
    expect(reference.hidden[3]).toHaveLength(40 * 128);
    expect(reference.greedyMargin).toHaveLength(24);
    // The first token of the continuation is the most likely one after the prompt.
    expect(argmax(reference.logits.subarray(39 * 512))).toBe(reference.greedy[0]);
  });

  it("refuses a reference that is absent or of another model", async () => {
    const { spec } = await openCheckpoint(join(fixtures, "qwen3-8bit"));
    const directory = await mkdtemp(join(tmpdir(), "minid-reference-"));
    try {
      await expect(readReference(directory, spec)).rejects.toMatchObject({ code: "model_unreadable" });
      await cp(join(fixtures, "qwen3-8bit", "reference.safetensors"), join(directory, "reference.safetensors"));
      await expect(readReference(directory, { ...spec, layerCount: 5 })).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining("hidden.4") as string });
      await expect(readReference(directory, { ...spec, vocabSize: 600 })).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining("logits") as string });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe("relativeError", () => {
  it("is the largest difference over the largest reference value", () => {
    expect(relativeError(Float32Array.of(1, -4, 2), Float32Array.of(1, -4, 2))).toBe(0);
    expect(relativeError(Float32Array.of(1, -4, 2.5), Float32Array.of(1, -4, 2))).toBe(0.125);
  });

  it("is infinite for what is not a number", () => {
    expect(relativeError(Float32Array.of(NaN), Float32Array.of(1))).toBe(Infinity);
    expect(relativeError(Float32Array.of(1), Float32Array.of(NaN))).toBe(Infinity);
    expect(relativeError(Float32Array.of(1), Float32Array.of(0))).toBe(Infinity);
  });
});
