import { existsSync } from "node:fs";
import { expect, it } from "vitest";
import type { MinidError } from "../../../../../src/core/errors.js";
import { onnxruntimeLibraryPath } from "../../../../../src/worker/engines/onnx/library.js";
import { ropeFrequencies } from "../../../../../src/worker/engines/onnx/rope.js";
import { batchSize } from "../../../../../src/worker/engines/onnx/stage.js";

it.each([["linux", "x64"], ["linux", "arm64"], ["darwin", "arm64"]])("the package has a library for %s on %s", (platform, architecture) => {
  expect(existsSync(onnxruntimeLibraryPath(platform, architecture))).toBe(true);
});

it("says what is missing where the package has none", () => {
  for (const [platform, architecture] of [["darwin", "x64"], ["win32", "x64"], ["linux", "riscv64"]] as const) {
    expect(() => onnxruntimeLibraryPath(platform, architecture)).toThrow(expect.objectContaining({ code: "engine_unavailable" }) as MinidError);
  }
});

it("llama3 scaling keeps short wavelengths, divides long ones, and is continuous between", () => {
  const scaling = { kind: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 } as const;
  const plain = ropeFrequencies({ theta: 500_000, scaling: { kind: "none" } }, 128);
  const scaled = ropeFrequencies({ theta: 500_000, scaling }, 128);
  expect(scaled[0]).toBe(plain[0]);
  expect(scaled[63]).toBeCloseTo(plain[63]! / 8, 12);
  for (let pair = 1; pair < 64; pair += 1) expect(scaled[pair]!).toBeLessThan(scaled[pair - 1]!);
});

it("batches are rounded up to few even sizes", () => {
  expect([1, 2, 3, 5, 8, 9, 13, 16].map(batchSize)).toEqual([2, 2, 4, 6, 8, 12, 16, 16]);
});
