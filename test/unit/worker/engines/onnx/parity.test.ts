/** Every dense tiny checkpoint against what an independent implementation computed from it. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createOnnxEngine } from "../../../../../src/worker/engines/onnx/engine.js";
import { verifyModel } from "../../../../../src/worker/verify.js";
import { fixtures, tinyDense } from "./stages.js";

const everyLayer = [1, 2, 3];

describe.each(tinyDense)("%s", (name) => {
  const verify = (numerics: "exact" | "precise" | "fast", split: readonly number[]) =>
    verifyModel({ directory: join(fixtures, "tiny", name), engine: createOnnxEngine(), numerics, split });

  it.each([{ split: [] }, { split: everyLayer }])("exact is the reference to 1e-4 in every layer, cut at $split", async ({ split }) => {
    const report = await verify("exact", split);
    expect(report.failures).toEqual([]);
    expect(Math.max(...report.layerErrors, report.splitError, report.logitsError)).toBeLessThan(1e-4);
    expect(report.greedy.agreed).toBe(24);
  });

  it("fast has logits within 6 % and never disagrees where the margin is wide", async () => {
    const report = await verify("fast", []);
    expect(report.failures).toEqual([]);
    expect(report.logitsError).toBeLessThan(0.06);
    expect(report.greedy.decided).toBe(0);
  });

  it("precise is a hundred times nearer than fast may be", async () => {
    const report = await verify("precise", [2]);
    expect(Math.max(...report.layerErrors, report.logitsError)).toBeLessThan(6e-4);
  });
});
