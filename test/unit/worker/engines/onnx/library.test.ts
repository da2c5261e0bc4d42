import { existsSync } from "node:fs";
import { expect, it } from "vitest";
import type { MinidError } from "../../../../../src/core/errors.js";
import { onnxruntimeLibraryPath } from "../../../../../src/worker/engines/onnx/library.js";
import { batchSize } from "../../../../../src/worker/engines/onnx/stage.js";

it.each([["linux", "x64"], ["linux", "arm64"], ["darwin", "arm64"]])("the package has a library for %s on %s", (platform, architecture) => {
  expect(existsSync(onnxruntimeLibraryPath(platform, architecture))).toBe(true);
});

it("says what is missing where the package has none", () => {
  for (const [platform, architecture] of [["darwin", "x64"], ["win32", "x64"], ["linux", "riscv64"]] as const) {
    expect(() => onnxruntimeLibraryPath(platform, architecture)).toThrow(expect.objectContaining({ code: "engine_unavailable" }) as MinidError);
  }
});

it("batches are rounded up to few even sizes", () => {
  expect([1, 2, 3, 5, 8, 9, 13, 16].map(batchSize)).toEqual([2, 2, 4, 6, 8, 12, 16, 16]);
});
