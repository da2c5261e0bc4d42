import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import { argmax } from "../../../../../src/model/reference.js";
import { createMlxEngine, mlxAvailability } from "../../../../../src/worker/engines/mlx/engine.js";
import type { Numerics, Stage } from "../../../../../src/worker/engines/engine.js";
import { verifyModel } from "../../../../../src/worker/verify.js";

const fixtures = join(import.meta.dirname, "../../../../fixtures/tiny");
const embedded = join(import.meta.dirname, "../../../../../models/SmolLM2-135M-Instruct-8bit");
const dense = ["llama-4bit-g32", "llama-8bit-rope3", "qwen2-8bit-bias", "qwen3-4bit-tied", "qwen3-8bit", "qwen3-bf16-tied"];
const availability = mlxAvailability();
if (!availability.ok) console.log(`tests of the mlx engine are skipped: ${availability.remedy}`);

const stages: Stage[] = [];
afterEach(() => { for (const stage of stages.splice(0)) stage.dispose(); });

interface Wanted { name?: string; first?: number; end?: number; numerics?: Numerics; slots?: number }

async function load({ name = "qwen3-8bit", first = 0, end = 4, numerics = "fast", slots = 4 }: Wanted = {}): Promise<Stage> {
  const checkpoint = await openCheckpoint(join(fixtures, name));
  const stage = await createMlxEngine().load({ checkpoint, layers: { first, end }, ownsText: first === 0, numerics, threads: 2, slots, contextMax: 600, batchMax: 4 });
  await checkpoint.close();
  stages.push(stage);
  return stage;
}

const tokens = (count: number, seed = 7): Int32Array => Int32Array.from({ length: count }, (_, i) => (i * i * 31 + i * seed + seed) % 512);
const nothing = (): undefined => undefined;

/** Runs tokens through a stage in chunks. @returns the hidden rows, one after another. */
function run(stage: Stage, slot: number, ids: Int32Array, chunks: readonly number[], position = 0): Float32Array {
  const parts: number[] = [];
  let at = 0;
  for (const rows of chunks) {
    const part = ids.subarray(at, at + rows);
    parts.push(...stage.forward([{ slot, position: position + at, rows: part.length }], stage.embed(part), nothing));
    at += part.length;
  }
  return Float32Array.from(parts);
}

describe.runIf(availability.ok)("the mlx engine", () => {
  describe.each(dense)("on %s", name => {
    it.each([[[]], [[1]], [[2]], [[3]], [[1, 2, 3]]])("agrees with the reference exactly, cut at %j", async split => {
      const report = await verifyModel({ directory: join(fixtures, name), engine: createMlxEngine(), numerics: "exact", split });
      expect(report.failures).toEqual([]);
      expect(report.greedy).toEqual({ agreed: 24, of: 24, decided: 0 });
      expect(Math.max(...report.layerErrors, report.logitsError)).toBeLessThanOrEqual(1e-4);
    });

    it("agrees with the reference in the serving mode", async () => {
      const report = await verifyModel({ directory: join(fixtures, name), engine: createMlxEngine(), numerics: "fast", split: [2] });
      expect(report.failures).toEqual([]);
    });
  });

  it("reads weights through a cache's blobs, whose names tell no format", async () => {
    const directory = mkdtempSync(join(tmpdir(), "minid-blobs-"));
    try {
      cpSync(join(fixtures, "qwen3-8bit", "model.safetensors"), join(directory, "0123abcd"));
      cpSync(join(fixtures, "qwen3-8bit", "reference.safetensors"), join(directory, "reference.safetensors"));
      cpSync(join(fixtures, "qwen3-8bit", "config.json"), join(directory, "config.json"));
      symlinkSync("0123abcd", join(directory, "model.safetensors"));
      const report = await verifyModel({ directory, engine: createMlxEngine(), numerics: "fast", split: [] });
      expect(report.passed).toBe(true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  describe.each<Numerics>(["fast", "exact"])("in %s mode gives the same bits", numerics => {
    it.each(["qwen3-8bit", "qwen3-bf16-tied"])("whatever the chunks: %s", async name => {
      const stage = await load({ name, numerics });
      const ids = tokens(40);
      const whole = run(stage, 0, ids, [40]);
      expect(run(stage, 1, ids, Array.from({ length: 40 }, () => 1))).toEqual(whole);
      expect(run(stage, 2, ids, [7, 16, 17])).toEqual(whole);
      expect(stage.head(whole).subarray(39 * 512)).toEqual(stage.head(whole.subarray(39 * 128)));
    });

    it("alone and among strangers", async () => {
      const stage = await load({ numerics });
      const ids = tokens(20);
      const alone = run(stage, 0, ids, [19, 1]).subarray(19 * 128);
      run(stage, 0, ids.subarray(0, 19), [19]);
      run(stage, 1, tokens(33, 3), [33]);
      run(stage, 2, tokens(5, 11), [5]);
      const batch = [{ slot: 1, position: 33, rows: 1 }, { slot: 0, position: 19, rows: 1 }, { slot: 2, position: 5, rows: 3 }];
      const together = stage.forward(batch, stage.embed(Int32Array.of(1, ids[19] ?? 0, 2, 3, 4)), nothing);
      expect(together.subarray(128, 256)).toEqual(alone);
    });

    it("whole and cut in three", async () => {
      const ids = tokens(30);
      const whole = run(await load({ numerics }), 0, ids, [30]);
      let hidden: Float32Array | undefined;
      for (const [first, end] of [[0, 1], [1, 3], [3, 4]] as const) {
        const part = await load({ first, end, numerics });
        hidden = part.forward([{ slot: 0, position: 0, rows: 30 }], hidden ?? part.embed(ids), nothing);
      }
      expect(hidden).toEqual(whole);
    });
  });

  it("copies a prefix to another slot, rewinds, and forgets a dropped slot", async () => {
    const stage = await load();
    const ids = tokens(24);
    const whole = run(stage, 0, ids, [24]);
    stage.copy(0, 1, 16);
    expect(stage.length(1)).toBe(16);
    expect(run(stage, 1, ids.subarray(16), [8], 16)).toEqual(whole.subarray(16 * 128));
    run(stage, 1, tokens(8, 5), [8], 16);
    expect(run(stage, 1, ids.subarray(10), [14], 10)).toEqual(whole.subarray(10 * 128));
    expect(run(stage, 0, ids.subarray(23), [1], 23)).toEqual(whole.subarray(23 * 128));
    const before = stage.memory().kvBytes;
    stage.drop(0);
    stage.drop(1);
    expect(stage.length(0)).toBe(0);
    expect(before).toBeGreaterThan(0);
    expect(stage.memory().kvBytes).toBe(0);
    expect(run(stage, 0, ids, [24])).toEqual(whole);
  });

  it("goes on past the step in which a cache grows", async () => {
    const stage = await load();
    const ids = tokens(300);
    const whole = run(stage, 0, ids, [300]);
    expect(run(stage, 1, ids, [250, 1, 1, 1, 1, 1, 1, 1, 1, 42])).toEqual(whole);
  });

  it("reports its loading and its progress", async () => {
    const checkpoint = await openCheckpoint(join(fixtures, "qwen3-8bit"));
    const seen: [number, number][] = [];
    const stage = await createMlxEngine().load({ checkpoint, layers: { first: 1, end: 3 }, ownsText: false, numerics: "fast", threads: 1, slots: 1, contextMax: 64, batchMax: 1, onProgress: (loaded, total) => seen.push([loaded, total]) });
    stages.push(stage);
    const loaded = seen.map(([bytes]) => bytes);
    expect(loaded).toEqual(loaded.toSorted((a, b) => a - b));
    expect(loaded.at(-1)).toBe(seen.at(-1)?.[1]);
    let layers = 0;
    stage.forward([{ slot: 0, position: 0, rows: 3 }], new Float32Array(3 * 128).fill(0.1), () => { layers += 1; });
    expect(layers).toBe(2);
    expect(stage.memory().weightBytes).toBeGreaterThan(100_000);
    expect(() => stage.head(new Float32Array(128))).toThrow("without the text");
    await checkpoint.close();
  });

  it("answers as the reference does on the embedded model, token by token and in log probability", async () => {
    const checkpoint = await openCheckpoint(embedded);
    const stage = await createMlxEngine().load({ checkpoint, layers: { first: 0, end: 30 }, ownsText: true, numerics: "fast", threads: 2, slots: 1, contextMax: 64, batchMax: 1 });
    stages.push(stage);
    await checkpoint.close();
    const [{ prompt, greedy, top5_logprobs: top5 }] = JSON.parse(readFileSync(join(fixtures, "../SmolLM2-135M-Instruct-8bit/reference.json"), "utf8")) as [{ prompt: number[]; greedy: number[]; top5_logprobs: [number, number][][] }];
    const ids = Int32Array.from([...prompt, ...greedy.slice(0, -1)]);
    const hidden = stage.forward([{ slot: 0, position: 0, rows: ids.length }], stage.embed(ids), nothing);
    const logits = stage.head(hidden.subarray((prompt.length - 1) * 576));
    for (const [step, token] of greedy.entries()) {
      const row = logits.subarray(step * 49152, (step + 1) * 49152);
      expect(argmax(row)).toBe(token);
      const largest = row.reduce((max, logit) => Math.max(max, logit), -Infinity);
      const logSum = largest + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
      for (const [candidate, logprob] of top5[step] ?? []) expect(Math.abs((row[candidate] ?? NaN) - logSum - logprob)).toBeLessThan(0.001);
    }
  });

  it("refuses a token outside the vocabulary", async () => {
    const stage = await load();
    expect(() => stage.embed(Int32Array.of(3, 512))).toThrow(expect.objectContaining({ code: "invalid_value" }));
  });

  it("fails verification when one layer of the reference is altered by 1 %", async () => {
    const directory = mkdtempSync(join(tmpdir(), "minid-altered-"));
    try {
      cpSync(join(fixtures, "qwen3-8bit"), directory, { recursive: true });
      const file = join(directory, "reference.safetensors");
      const bytes = readFileSync(file);
      const headerBytes = Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<string, { data_offsets: [number, number] }>;
      const [begin, end] = header["hidden.2"]?.data_offsets ?? [0, 0];
      for (let at = 8 + headerBytes + begin; at < 8 + headerBytes + end; at += 4) bytes.writeFloatLE(bytes.readFloatLE(at) * 1.01, at);
      rmSync(file);
      writeFileSync(file, bytes);
      const report = await verifyModel({ directory, engine: createMlxEngine(), numerics: "exact", split: [] });
      expect(report.passed).toBe(false);
      expect(report.failures).toEqual([expect.stringContaining("after layer 2")]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
