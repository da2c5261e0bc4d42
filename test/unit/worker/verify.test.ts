import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/model/checkpoint.js";
import { readReference } from "../../../src/model/reference.js";
import type { Reference } from "../../../src/model/reference.js";
import type { Engine, Numerics, Span, Stage } from "../../../src/worker/engines/engine.js";
import { verifyModel } from "../../../src/worker/verify.js";
import type { VerifyReport } from "../../../src/worker/verify.js";

const directory = join(import.meta.dirname, "../../fixtures/tiny/qwen3-8bit");
const [hiddenSize, vocabSize, promptRows] = [128, 512, 40];
let truth: Reference;

beforeAll(async () => {
  const checkpoint = await openCheckpoint(directory);
  truth = await readReference(directory, checkpoint.spec);
  await checkpoint.close();
});

/**
 * An engine that has the answers: its hidden states are the reference's, and a row is recognized by its position, which it writes
 * into the first number of rows past the prompt.
 */
class Recording implements Engine {
  readonly name = "onnx";
  readonly replay = "prefill";
  readonly description = "recording";
  open = 0;
  readonly #answers: Reference;
  constructor(answers: Reference) { this.#answers = answers; }

  async load({ layers }: Parameters<Engine["load"]>[0]): Promise<Stage> {
    this.open += 1;
    const answers = this.#answers;
    let step = 0;
    return {
      memory: () => ({ weightBytes: 0, kvBytes: 0 }),
      embed: tokens => new Float32Array(tokens.length * hiddenSize),
      forward: (spans: readonly Span[]) => {
        const [span] = spans;
        if (span?.position === 0) return answers.hidden[layers.end - 1] ?? new Float32Array();
        step = (span?.position ?? 0) - promptRows + 1;
        return new Float32Array(hiddenSize);
      },
      head: hidden => {
        if (hidden.length === promptRows * hiddenSize) return answers.logits;
        const logits = new Float32Array(vocabSize);
        logits[answers.greedy[step] ?? -1] = 1;
        return logits;
      },
      copy: () => undefined,
      drop: () => undefined,
      length: () => 0,
      dispose: () => { this.open -= 1; },
    };
  }
}

async function verify(answers: Reference, numerics: Numerics = "exact", split: readonly number[] = []): Promise<VerifyReport> {
  const engine = new Recording(answers);
  const report = await verifyModel({ directory, engine, numerics, split });
  expect(engine.open).toBe(0);
  return report;
}

const scaled = (values: Float32Array, factor: number): Float32Array => values.map(value => value * factor);

describe("verifyModel", () => {
  it("passes an engine that computes the reference, whole and cut", async () => {
    for (const split of [[], [2], [1, 2, 3]]) {
      const report = await verify(truth, "exact", split);
      expect(report.failures).toEqual([]);
      expect(report).toMatchObject({ passed: true, logitsError: 0, layerErrors: [0, 0, 0, 0], top1: { agreed: 40, of: 40 }, greedy: { agreed: 24, of: 24, decided: 0 } });
    }
  });

  it.each([0, 1, 2])("fails when layer %i is off by 1 %%", async layer => {
    const report = await verify({ ...truth, hidden: truth.hidden.map((state, index) => (index === layer ? scaled(state, 1.01) : state)) });
    expect(report.passed).toBe(false);
    expect(report.failures).toHaveLength(1);
    expect(report.failures[0]).toContain(`after layer ${layer}`);
    expect(report.layerErrors[layer]).toBeCloseTo(0.01, 4);
  });

  it("fails when the logits are off, more than the mode allows", async () => {
    const off = { ...truth, logits: scaled(truth.logits, 1.03) };
    expect((await verify(off, "exact")).passed).toBe(false);
    expect((await verify(off, "fast")).passed).toBe(true);
    expect((await verify({ ...truth, logits: scaled(truth.logits, 1.07) }, "fast")).failures[0]).toContain("logits");
  });

  it("fails on what is not a number", async () => {
    expect((await verify({ ...truth, logits: truth.logits.with(7, NaN) }, "fast")).passed).toBe(false);
  });

  it("needs every greedy token in exact, and in fast those that rounding cannot turn", async () => {
    const turned = (step: number): Reference => ({ ...truth, greedy: truth.greedy.with(step, ((truth.greedy[step] ?? 0) + 1) % vocabSize) });
    const steps = [...truth.greedyMargin.keys()].slice(1).toSorted((a, b) => (truth.greedyMargin[a] ?? 0) - (truth.greedyMargin[b] ?? 0));
    const [narrowest, widest] = [steps[0] ?? -1, steps.at(-1) ?? -1];
    expect((await verify(turned(narrowest), "exact")).failures).toContain("greedy: only 23 of 24 tokens agree");
    // 3 % off, as a quantized activation is.
    const rounded = { logits: scaled(truth.logits, 1.03) };
    expect(await verify({ ...turned(narrowest), ...rounded }, "fast")).toMatchObject({ passed: true, greedy: { agreed: 23, of: 24, decided: 0 } });
    expect(await verify({ ...turned(widest), ...rounded }, "fast")).toMatchObject({ passed: false, greedy: { agreed: 23, of: 24, decided: 1 } });
  });

  it.each([[[0]], [[4]], [[2, 2]], [[3, 1]], [[1.5]]])("refuses to cut at %j", async split => {
    await expect(verifyModel({ directory, engine: new Recording(truth), numerics: "exact", split })).rejects.toMatchObject({ code: "invalid_value", param: "split" });
  });
});
