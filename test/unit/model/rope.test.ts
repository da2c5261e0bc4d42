import { describe, expect, it } from "vitest";
import { fillRopeTables, ropeFrequencies } from "../../../src/model/rope.js";

describe("ropeFrequencies", () => {
  it("falls geometrically with the dimension", () => {
    expect([...ropeFrequencies({ theta: 10_000, scaling: { kind: "none" } }, 4)]).toEqual([1, 0.01]);
  });

  it("divides every frequency by a linear factor", () => {
    expect([...ropeFrequencies({ theta: 10_000, scaling: { kind: "linear", factor: 4 } }, 4)]).toEqual([0.25, 0.0025]);
  });

  it("keeps high frequencies, divides low ones and blends between, for llama3", () => {
    const plain = ropeFrequencies({ theta: 500_000, scaling: { kind: "none" } }, 128);
    const scaled = ropeFrequencies({ theta: 500_000, scaling: { kind: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 } }, 128);
    const ratios = [...scaled].map((frequency, pair) => frequency / plain[pair]!);
    expect(ratios[0]).toBe(1);
    expect(ratios.at(-1)).toBeCloseTo(1 / 8, 12);
    expect(ratios).toEqual(ratios.toSorted((a, b) => b - a));
    for (let pair = 1; pair < 64; pair += 1) expect(scaled[pair]!).toBeLessThan(scaled[pair - 1]!);
    expect(ratios.some(ratio => ratio > 0.13 && ratio < 0.99)).toBe(true);
  });
});

describe("fillRopeTables", () => {
  it("holds cos and sin of position times frequency", () => {
    const cos = new Float32Array(6);
    const sin = new Float32Array(6);
    fillRopeTables({ theta: 10_000, scaling: { kind: "none" } }, 4, cos, sin);
    expect([...cos.subarray(0, 2), ...sin.subarray(0, 2)]).toEqual([1, 1, 0, 0]);
    expect(cos[4]).toBeCloseTo(Math.cos(2), 6);
    expect(sin[5]).toBeCloseTo(Math.sin(0.02), 6);
  });
});
