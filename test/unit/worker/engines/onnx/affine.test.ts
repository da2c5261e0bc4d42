import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import { relativeError } from "../../../../../src/model/reference.js";
import { packZeroPoints, quantizeRows, requantizedGroups, writeCorrection, zeroPointsOf } from "../../../../../src/worker/engines/onnx/affine.js";
import { createOnnxEngine } from "../../../../../src/worker/engines/onnx/engine.js";
import type { Numerics } from "../../../../../src/worker/engines/engine.js";
import { fixtures } from "./stages.js";

it("finds the integer zero point of what MLX quantized, negative scales included", () => {
  const scales = Float32Array.of(0.5, -0.25, 0.5, 0);
  const biases = Float32Array.of(-3.5, 1.75, -3.6, 0);
  const found = zeroPointsOf(scales, biases, 4);
  expect([...found.zeros]).toEqual([7, 7, 7, 0]);
  expect(found.worstSteps).toBeCloseTo(0.2, 5);
});

it("sees groups that no unsigned zero point can say: all of one sign, or of one value", () => {
  expect(zeroPointsOf(Float32Array.of(0.5), Float32Array.of(4), 8).worstSteps).toBe(8);
  expect(zeroPointsOf(Float32Array.of(0), Float32Array.of(4), 8).worstSteps).toBe(Number.POSITIVE_INFINITY);
});

it("packs 4-bit zero points two a byte, each row on its own bytes", () => {
  const out = new Uint8Array(4);
  packZeroPoints(Uint8Array.of(1, 2, 3, 4, 5, 6), 3, 4, out);
  expect([...out]).toEqual([0x21, 0x03, 0x54, 0x06]);
});

it("the correction restores the bias that the zero point rounds away", () => {
  const out = new Float32Array(6);
  writeCorrection(Float32Array.of(0.5, 0.5), Float32Array.of(-3.6, -1), Uint8Array.of(7, 2), 2, out, 3, 1);
  expect(out[1]).toBeCloseTo(-0.1, 6);
  expect([out[0], out[2], out[3], out[4], out[5]]).toEqual([0, 0, 0, 0, 0]);
});

it("requantizes to within half a step of the group's range", () => {
  const weights = Float32Array.from({ length: 64 }, (_, at) => 3 + Math.sin(at));
  const groups = requantizedGroups(weights, 32);
  const codes = new Uint8Array(64);
  quantizeRows(weights, groups, 32, codes);
  weights.forEach((weight, at) => {
    const group = Math.floor(at / 32);
    const back = groups.scales[group]! * (codes[at]! - groups.zeros[group]!);
    expect(Math.abs(back - weight)).toBeLessThanOrEqual((groups.scales[group]! * 1.001) / 2);
  });
});

it("a checkpoint whose biases fit no zero point is served all the same, and the log is told which tensor", async () => {
  const directory = mkdtempSync(join(tmpdir(), "minid-affine-"));
  try {
    cpSync(join(fixtures, "tiny/llama-4bit-g32"), directory, { recursive: true });
    const tensor = shiftBiases(join(directory, "model.safetensors"), "layers.1.mlp.up_proj");
    const checkpoint = await openCheckpoint(directory);
    const requantized: string[] = [];
    const logits = async (numerics: Numerics): Promise<Float32Array> => {
      const engine = createOnnxEngine({ onRequantized: (name) => { requantized.push(name); } });
      const stage = await engine.load({ checkpoint, layers: { first: 0, end: 4 }, ownsText: true, numerics, threads: 1, slots: 1, contextMax: 32, batchMax: 2 });
      const result = stage.head(stage.forward([{ slot: 0, position: 0, rows: 8 }], stage.embed(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8)), () => {}));
      stage.dispose();
      return result;
    };
    const exact = await logits("exact");
    expect(relativeError(await logits("precise"), exact)).toBeLessThan(0.01);
    expect(requantized).toEqual([]);
    expect(relativeError(await logits("fast"), exact)).toBeLessThan(0.06);
    expect(requantized).toEqual([tensor]);
    await checkpoint.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

/** Moves every bias of a layer to the middle between two zero points, as a converted checkpoint may have it. @returns its weight's name. */
function shiftBiases(file: string, module: string): string {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<string, { dtype: string; data_offsets: [number, number] }>;
  const name = Object.keys(header).find((key) => key.endsWith(`${module}.weight`))!.slice(0, -".weight".length);
  const view = new DataView(bytes.buffer, bytes.byteOffset + 8 + headerBytes);
  const [scalesAt, scalesEnd] = header[`${name}.scales`]!.data_offsets;
  const [biasesAt] = header[`${name}.biases`]!.data_offsets;
  const read = (at: number): number => {
    const word = new DataView(new ArrayBuffer(4));
    word.setUint32(0, view.getUint16(at, true) << 16);
    return word.getFloat32(0);
  };
  expect(header[`${name}.scales`]!.dtype).toBe("BF16");
  for (let at = 0; at < scalesEnd - scalesAt; at += 2) {
    const word = new DataView(new ArrayBuffer(4));
    word.setFloat32(0, read(biasesAt + at) + read(scalesAt + at) * 0.45);
    view.setUint16(biasesAt + at, word.getUint16(0), true);
  }
  writeFileSync(file, bytes);
  return `${name}.weight`;
}
