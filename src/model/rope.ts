/** Rotary tables for every position, computed here so that each scaling scheme is a table and the graph knows none of them. */
import type { RopeSpec } from "./spec.js";
import { unreachable } from "../core/invariant.js";

/** @returns angles per position step, one for each of headDim / 2 pairs. Source: arXiv 2104.09864; llama3 scaling as in Meta's llama-models `apply_scaling`. */
export function ropeFrequencies(rope: RopeSpec, headDim: number): Float64Array {
  const frequencies = new Float64Array(headDim / 2);
  const { scaling } = rope;
  for (let pair = 0; pair < frequencies.length; pair += 1) {
    const plain = rope.theta ** (-(2 * pair) / headDim);
    switch (scaling.kind) {
      case "none":
        frequencies[pair] = plain;
        break;
      case "linear":
        frequencies[pair] = plain / scaling.factor;
        break;
      case "llama3": {
        const wavelength = (2 * Math.PI) / plain;
        const longest = scaling.originalMaxPositions / scaling.lowFreqFactor;
        const shortest = scaling.originalMaxPositions / scaling.highFreqFactor;
        const smooth = (scaling.originalMaxPositions / wavelength - scaling.lowFreqFactor) / (scaling.highFreqFactor - scaling.lowFreqFactor);
        if (wavelength > longest) frequencies[pair] = plain / scaling.factor;
        else if (wavelength < shortest) frequencies[pair] = plain;
        else frequencies[pair] = ((1 - smooth) / scaling.factor + smooth) * plain;
        break;
      }
      default:
        unreachable(scaling);
    }
  }
  return frequencies;
}

/** Writes cos and sin of position * frequency. @param cos [positions, headDim / 2]. @param sin the same shape. */
export function fillRopeTables(rope: RopeSpec, headDim: number, cos: Float32Array, sin: Float32Array): void {
  const frequencies = ropeFrequencies(rope, headDim);
  for (let at = 0; at < cos.length; at += 1) {
    const angle = Math.floor(at / frequencies.length) * frequencies[at % frequencies.length]!;
    cos[at] = Math.cos(angle);
    sin[at] = Math.sin(angle);
  }
}
