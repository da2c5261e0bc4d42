import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { greedySampling, type StepSpan } from "../../../src/core/worker-protocol.js";
import { readReference } from "../../../src/model/reference.js";
import { type FinalNorm, Pool } from "../../../src/worker/pool.js";
import { StageRunner } from "../../../src/worker/stage-runner.js";
import { fixtures, loadPipeline, openTiny } from "./engines/onnx/stages.js";

const norm: FinalNorm = { weight: Float32Array.from([1, 2, 0.5]), epsilon: 1e-5 };
const rows = Float32Array.from({ length: 7 * 3 }, (_, at) => Math.sin(at * 1.7) * 3);

describe("pooling", () => {
  it.each(["last", "mean"] as const)("gives the same bits for the %s however the rows are chunked", (pooling) => {
    const chunked = (chunks: readonly number[]) => {
      const pool = new Pool(pooling, norm);
      let at = 0;
      for (const count of chunks) { pool.add(rows.subarray(at * 3, (at + count) * 3), at + count); at += count; }
      return pool.result();
    };
    for (const chunks of [[1, 6], [2, 2, 3], [1, 1, 1, 1, 1, 1, 1]]) expect(chunked(chunks)).toEqual(chunked([7]));
  });

  it("refuses a mean of which rows are missing", () => {
    const pool = new Pool("mean", norm);
    pool.add(rows.subarray(0, 6), 5);
    expect(() => pool.result()).toThrow(expect.objectContaining({ code: "stage_lost" }));
  });
});

describe("a checkpoint's embedding", () => {
  const name = "qwen3-8bit";
  const span = (prompt: Int32Array, position: number, count: number, everyRow: boolean): StepSpan =>
    ({ slot: 0, position, rows: count, tokens: [...prompt.subarray(position, position + count)], sample: position + count === prompt.length, everyRow });

  it.each([{ pooling: "mean", cuts: [], chunk: 64 }, { pooling: "mean", cuts: [1, 3], chunk: 5 }, { pooling: "last", cuts: [2], chunk: 4 }] as const)(
    "is what the reference's hidden states give: $pooling, cut at $cuts, in chunks of $chunk", async ({ pooling, cuts, chunk }) => {
      const checkpoint = await openTiny(name);
      const { spec } = checkpoint;
      const reference = await readReference(join(fixtures, "tiny", name), spec);
      const finalNorm = { weight: await checkpoint.readFloat32(checkpoint.finalNorm), epsilon: spec.rmsNormEps };
      const expected = new Pool(pooling, finalNorm);
      expected.add(reference.hidden.at(-1)!, reference.prompt.length);

      const stages = await loadPipeline(checkpoint, "exact", cuts);
      const bounds = [0, ...cuts, spec.layerCount];
      const runners = stages.map((stage, rank) => new StageRunner({
        stage, layers: { first: bounds[rank]!, end: bounds[rank + 1]! }, onProgress: () => undefined, finalNorm,
        limits: { slots: 4, contextMax: 200, hiddenSize: spec.hiddenSize, vocabSize: spec.vocabSize, ownsText: rank === 0 },
      }));
      const [head, ...others] = runners;
      const open = { op: "open", open: { slot: 0, sampling: greedySampling, history: [...reference.prompt], promptLength: reference.prompt.length, pooling } } as const;
      let embedding: readonly number[] | undefined;
      for (let at = 0; at < reference.prompt.length; at += chunk) {
        const spans = [span(reference.prompt, at, Math.min(chunk, reference.prompt.length - at), pooling === "mean")];
        const ops = at === 0 ? [open] : [];
        let results;
        if (others.length === 0) results = head!.whole(ops, spans);
        else {
          let hidden = head!.beginRing(at, ops, spans);
          for (const [index, other] of others.entries()) hidden = other.pass([], spans.map((each) => ({ ...each, tokens: [] })), hidden, index === others.length - 1).hidden;
          results = head!.finishRing(at, hidden);
        }
        embedding ??= results[0]?.embedding;
      }
      for (const runner of runners) runner.dispose();
      await checkpoint.close();
      const wanted = expected.result();
      const scale = Math.max(...wanted.map(Math.abs));
      expect(embedding).toHaveLength(spec.hiddenSize);
      expect(Math.max(...wanted.map((value, at) => Math.abs(value - embedding![at]!))) / scale).toBeLessThan(1e-4);
    }, 60_000);
});
