import { describe, expect, it } from "vitest";
import { type Block, philox4x32, uniform } from "../../../src/worker/random.js";

const hex = (block: Block): string => block.map((word) => word.toString(16).padStart(8, "0")).join(" ");

describe("philox4x32-10", () => {
  // Random123's known-answer vectors (kat_vectors, philox4x32 10).
  it.each([
    [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ] as const)("gives the published words for counter %j", (counter, key, expected) => {
    expect(hex(philox4x32(counter, key))).toBe(expected);
  });
});

describe("uniform", () => {
  it("is a function of seed and position, and stays within [0, 1)", () => {
    for (const seed of [0, 1, 42, 2 ** 32, 2 ** 53 - 1]) {
      for (let position = 0; position < 200; position += 1) {
        const value = uniform(seed, position);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(1);
        expect(uniform(seed, position)).toBe(value);
      }
    }
  });

  it("uses every bit of the seed", () => {
    const seen = new Set<number>();
    for (let bit = 0; bit < 53; bit += 1) seen.add(uniform(2 ** bit, 7));
    expect(seen.size).toBe(53);
  });

  it("spreads evenly over twenty equal bins", () => {
    const bins = Array.from({ length: 20 }, () => 0);
    const draws = 40_000;
    for (let position = 0; position < draws; position += 1) {
      const bin = Math.floor(uniform(9, position) * 20);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    const expected = draws / 20;
    const chiSquared = bins.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 19 degrees of freedom: 43.8 is exceeded with probability 0.001; the draws are fixed, so this cannot flicker.
    expect(chiSquared).toBeLessThan(43.8);
  });
});
