import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Sampling, greedySampling } from "../../../src/core/worker-protocol.js";
import { Sampler, type SamplerInput } from "../../../src/worker/sampler.js";
import { samplingParams } from "../../../src/worker/sampling-params.js";
import { uniform } from "../../../src/worker/random.js";

const vocabSize = 1_000;
const params = (wishes: Partial<Sampling>) => samplingParams({ ...greedySampling, ...wishes }, vocabSize);
const input = (logits: Float32Array, wishes: Partial<Sampling>, more: Partial<SamplerInput> = {}): SamplerInput =>
  ({ logits, params: params(wishes), position: 5, history: new Int32Array(0), promptLength: 0, ...more });

const logitsArbitrary = fc.array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: vocabSize, maxLength: vocabSize }).map((values) => Float32Array.from(values));

/** The definition, written plainly: the distribution after every filter, drawn from with the same uniform number. */
function reference(logits: Float32Array, p: { temperature: number; topK: number; topP: number; minP: number; seed: number }, position: number): number {
  const max = Math.max(...logits);
  const ranked = Array.from(logits, (value, id) => ({ id, weight: Math.exp((value - max) / p.temperature) })).sort((a, b) => (logits[b.id] ?? 0) - (logits[a.id] ?? 0) || a.id - b.id);
  let kept = p.topK > 0 ? ranked.slice(0, p.topK) : ranked;
  if (p.topP < 1) {
    const total = kept.reduce((sum, { weight }) => sum + weight, 0);
    let sum = 0;
    kept = kept.filter(({ weight }, rank) => { const keep = rank === 0 || sum < p.topP * total; sum += weight; return keep; });
  }
  kept = kept.filter(({ weight }, rank) => rank === 0 || weight >= p.minP);
  const total = kept.reduce((sum, { weight }) => sum + weight, 0);
  let target = uniform(p.seed, position) * total;
  kept.sort((a, b) => a.id - b.id);
  const token = kept.find(({ weight }) => (target -= weight) < 0) ?? kept.at(-1);
  return token?.id ?? -1;
}

describe("sampler", () => {
  const sampler = new Sampler(vocabSize);

  it("takes the largest logit when greedy, and the lowest id among equals", () => {
    const logits = new Float32Array(vocabSize);
    logits[77] = 3; logits[300] = 3; logits[999] = 3;
    expect(sampler.sample(input(logits, {})).token).toBe(77);
  });

  it("gives the same token for the same input, whatever was sampled before", () => {
    fc.assert(fc.property(logitsArbitrary, fc.integer({ min: 0, max: 2 ** 52 }), (logits, seed) => {
      const wishes = { temperature: 0.8, topP: 0.9, seed, frequencyPenalty: 0.5, repetitionPenalty: 1.1 };
      const history = { history: Int32Array.from([1, 2, 2, 3, 999]), promptLength: 2 };
      const first = new Sampler(vocabSize).sample(input(logits, wishes, history));
      expect(sampler.sample(input(logits, wishes, history))).toEqual(first);
    }), { numRuns: 30 });
  });

  it("draws what the definition of temperature, top_k, top_p and min_p draws", () => {
    const choices = { temperature: fc.constantFrom(0.3, 1, 2), topK: fc.constantFrom(0, 1, 5, 40, 999, 5_000), topP: fc.constantFrom(0.1, 0.5, 0.9, 0.99, 1), minP: fc.constantFrom(0, 0.05, 0.5), seed: fc.nat() };
    fc.assert(fc.property(logitsArbitrary, fc.record(choices), (logits, p) => {
      expect(sampler.sample(input(logits, p)).token).toBe(reference(logits, p, 5));
    }), { numRuns: 200 });
  });

  it("draws each token as often as its probability says", () => {
    const small = new Sampler(6);
    const logits = Float32Array.from([0, 1, 2, 3, 2, Math.log(0.001)]);
    const weights = Array.from(logits, (value) => Math.exp(value));
    const total = weights.reduce((sum, weight) => sum + weight);
    const draws = 30_000;
    for (const wishes of [{ temperature: 1 }, { temperature: 1, topK: 6 }]) {
      const counts = Array.from({ length: 6 }, () => 0);
      const p = samplingParams({ ...greedySampling, ...wishes, seed: 1 }, 6);
      for (let position = 0; position < draws; position += 1) {
        const { token } = small.sample({ logits, params: p, position, history: new Int32Array(0), promptLength: 0 });
        counts[token] = (counts[token] ?? 0) + 1;
      }
      const chiSquared = counts.reduce((sum, count, token) => { const expected = draws * (weights[token] ?? 0) / total; return sum + (count - expected) ** 2 / expected; }, 0);
      // 5 degrees of freedom: 20.5 is exceeded with probability 0.001; the draws are fixed.
      expect(chiSquared).toBeLessThan(20.5);
    }
  });

  it("penalizes repetition over prompt and answer, frequency and presence over the answer only", () => {
    const logits = new Float32Array(vocabSize).fill(-50);
    logits.set([10, 9, 8, 7]);
    const past = { history: Int32Array.from([0, 0, 1, 1]), promptLength: 2 };
    expect(sampler.sample(input(logits, { presencePenalty: 2 }, past)).token).toBe(0);
    expect(sampler.sample(input(logits, { repetitionPenalty: 2 }, past)).token).toBe(2);
    expect(sampler.sample(input(logits, { presencePenalty: 2, logitBias: { 0: -2 } }, past)).token).toBe(0);
    // Token 1 stands twice in the answer: 9 - 2 * 0.6 = 7.8, below token 2.
    expect(sampler.sample(input(logits, { frequencyPenalty: 0.6, logitBias: { 0: -100 } }, past)).token).toBe(2);
    expect(sampler.sample(input(logits, { frequencyPenalty: 0.4, logitBias: { 0: -100 } }, past)).token).toBe(1);
  });

  it("makes negative logits smaller, not larger, by the repetition penalty", () => {
    const logits = new Float32Array(vocabSize).fill(-3);
    logits[4] = -2;
    expect(sampler.sample(input(logits, { repetitionPenalty: 2 }, { history: Int32Array.from([4]), promptLength: 1 })).token).toBe(0);
  });

  it("never leaves what the grammar allows, greedy or not", () => {
    const allowed = new Int32Array(Math.ceil(vocabSize / 32));
    for (const token of [31, 500, 999]) allowed[token >>> 5] = (allowed[token >>> 5] ?? 0) | (1 << (token & 31));
    fc.assert(fc.property(logitsArbitrary, fc.nat(), fc.constantFrom(0, 1, 3), fc.constantFrom(0, 10, 2_000), fc.constantFrom(0.7, 1), (logits, seed, temperature, topK, topP) => {
      expect([31, 500, 999]).toContain(sampler.sample(input(logits, { temperature, topK, topP, seed }, { allowed })).token);
    }), { numRuns: 60 });
    expect(() => sampler.sample(input(new Float32Array(vocabSize), {}, { allowed: new Int32Array(32) }))).toThrow("allows no token");
  });

  it("reports log-softmax of the raw logits, whatever bias and temperature do", () => {
    fc.assert(fc.property(logitsArbitrary, (logits) => {
      const { token, logprob, top } = sampler.sample(input(logits, { logprobs: true, topLogprobs: 20, temperature: 2, logitBias: { 7: 50 }, seed: 3 }));
      const max = Math.max(...logits);
      const normalizer = max + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - max), 0));
      expect(logprob).toBeCloseTo((logits[token] ?? 0) - normalizer, 6);
      const ranked = Array.from(logits, (value, id) => ({ id, value })).sort((a, b) => b.value - a.value || a.id - b.id).slice(0, 20);
      expect(top.map((entry) => entry.token)).toEqual(ranked.map((entry) => entry.id));
      for (const [rank, entry] of top.entries()) expect(entry.logprob).toBeCloseTo((ranked[rank]?.value ?? 0) - normalizer, 6);
    }), { numRuns: 30 });
  });

  it("refuses logits that are not finite", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const logits = new Float32Array(vocabSize);
      logits[13] = bad;
      expect(() => sampler.sample(input(logits, {}))).toThrow("not a finite number");
    }
  });

  it("copes with temperatures and logits at the ends of their ranges", () => {
    const logits = Float32Array.from({ length: vocabSize }, (_, id) => (id === 600 ? 3e38 : -3e38));
    for (const temperature of [1e-6, 1, 1e6]) {
      for (const topP of [1, 0.5, 0]) expect(sampler.sample(input(logits, { temperature, topP })).token).toBe(600);
    }
    const flat = sampler.sample(input(new Float32Array(vocabSize), { temperature: 1, topP: 0.5, seed: 11 })).token;
    expect(flat).toBeLessThan(500);
  });
});

describe("sampling parameters", () => {
  it.each([
    [{ temperature: Number.NaN }, "temperature"], [{ temperature: -1 }, "temperature"], [{ topP: 2 }, "topP"], [{ minP: -0.1 }, "minP"], [{ repetitionPenalty: 0 }, "repetitionPenalty"],
    [{ frequencyPenalty: Number.POSITIVE_INFINITY }, "frequencyPenalty"], [{ topK: 1.5 }, "topK"], [{ seed: -1 }, "seed"], [{ logitBias: { 1000: 1 } }, "logitBias"], [{ logitBias: { x: 1 } }, "logitBias"],
    [{ logitBias: { 1: Number.NaN } }, "logitBias"], [{ logprobs: true, topLogprobs: 21 }, "topLogprobs"],
  ])("refuses %j by name", (wishes, name) => {
    expect(() => params(wishes)).toThrow(name);
  });
});
