import { Float16Array } from "@petamoriken/float16";
import { array, assert, constantFrom, float, integer, property, uint8Array } from "fast-check";
import { describe, expect, it } from "vitest";
import { dequantizeRows, widenToFloat32 } from "../../../src/model/dequantize.js";

/** Every 16-bit pattern. */
const everyWord = Uint16Array.from({ length: 65_536 }, (_, word) => word);
const bytesOf = (values: Uint16Array | Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const bitsOf = (values: Float32Array): number[] => [...new Uint32Array(values.buffer, values.byteOffset, values.length)];

describe("widenToFloat32", () => {
  it("gives every f16 its exact value, subnormals, infinities and signed zeros included", () => {
    const widened = widenToFloat32(bytesOf(everyWord), "F16");
    const expected = Float32Array.from(new Float16Array(everyWord.buffer));
    for (let word = 0; word < 65_536; word += 1) {
      if (!Object.is(widened[word], expected[word])) throw new Error(`f16 ${word.toString(16)}: ${widened[word]} and not ${expected[word]}`);
    }
  });

  it("puts every bf16 into the upper half of a float32", () => {
    const bits = bitsOf(widenToFloat32(bytesOf(everyWord), "BF16"));
    expect(bits.every((value, word) => value === word * 65_536)).toBe(true);
  });

  it("copies float32, and reads bytes at odd offsets", () => {
    const values = Float32Array.of(1.5, -2.25, 1e-40);
    const copy = widenToFloat32(bytesOf(values), "F32");
    expect(copy).toEqual(values);
    expect(copy.buffer).not.toBe(values.buffer);
    for (const dtype of ["F16", "BF16"] as const) {
      const words = Uint16Array.of(0x3c00, 0xbf80, 0x4248);
      const shifted = Buffer.concat([Buffer.of(0), bytesOf(words)]).subarray(1);
      expect(widenToFloat32(shifted, dtype)).toEqual(widenToFloat32(bytesOf(words), dtype));
    }
    const shifted = Buffer.concat([Buffer.of(0), bytesOf(values)]).subarray(1);
    expect(widenToFloat32(shifted, "F32")).toEqual(values);
  });
});

/** Packs as MLX does: into u32 words, the first element in the lowest bits. */
function pack(elements: readonly number[], bits: 4 | 8): Uint8Array {
  const perWord = 32 / bits;
  const words = new Uint32Array(elements.length / perWord);
  for (const [i, element] of elements.entries()) words[Math.floor(i / perWord)] = (words[Math.floor(i / perWord)] ?? 0) + element * 2 ** (bits * (i % perWord));
  return new Uint8Array(words.buffer);
}

describe("dequantizeRows", () => {
  it("is scale * q + bias, rounded once, for every width and group", () => {
    const settings = constantFrom(...([4, 8] as const).flatMap(bits => ([32, 64, 128] as const).map(groupSize => ({ bits, groupSize }))));
    const number = float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
    assert(property(settings, integer({ min: 1, max: 4 }), array(number, { minLength: 8, maxLength: 8 }), uint8Array({ minLength: 512, maxLength: 512 }), (quantization, groups, numbers, random) => {
      const count = groups * quantization.groupSize;
      const elements = [...random.subarray(0, count)].map(byte => byte % 2 ** quantization.bits);
      const scales = Float32Array.from(numbers.slice(0, groups));
      const biases = Float32Array.from(numbers.slice(4, 4 + groups));
      const out = new Float32Array(count);
      dequantizeRows(pack(elements, quantization.bits), scales, biases, quantization, out);
      const expected = Float32Array.from(elements, (q, i) => (scales[Math.floor(i / quantization.groupSize)] ?? NaN) * q + (biases[Math.floor(i / quantization.groupSize)] ?? NaN));
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    }));
  });

  it("is right by hand", () => {
    const out = new Float32Array(32);
    dequantizeRows(Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 0xf1 : 0)), Float32Array.of(0.5), Float32Array.of(-2), { bits: 4, groupSize: 32 }, out);
    expect([...out.subarray(0, 4)]).toEqual([-1.5, 5.5, -2, -2]);
  });

  it("refuses shapes that do not agree", () => {
    expect(() => dequantizeRows(new Uint8Array(16), new Float32Array(1), new Float32Array(2), { bits: 4, groupSize: 32 }, new Float32Array(32))).toThrow("shapes");
  });
});
