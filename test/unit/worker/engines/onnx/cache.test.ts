/** Slots: what they hold, what they cost, and that a stage leaves nothing behind. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import { MinidError } from "../../../../../src/core/errors.js";
import { createOnnxEngine } from "../../../../../src/worker/engines/onnx/engine.js";
import { bits, feed, loadStage, openTiny, smolDirectory } from "./stages.js";

const tokens = Array.from({ length: 60 }, (_, at) => (at * 31) % 500);

it("a copied prefix continues as the sequence that it was copied from", async () => {
  const checkpoint = await openTiny("qwen3-8bit");
  const stage = await loadStage(checkpoint, "fast");
  const whole = feed([stage], 0, tokens);
  feed([stage], 1, tokens.slice(30));
  stage.copy(0, 1, 25);
  expect(stage.length(1)).toBe(25);
  const rest = feed([stage], 1, tokens.slice(25), [9], 25);
  expect(bits(rest)).toBe(bits(whole.subarray(25 * checkpoint.spec.hiddenSize)));
  stage.dispose();
  await checkpoint.close();
});

it("a slot rewound to an earlier position forgets what came after", async () => {
  const checkpoint = await openTiny("qwen3-8bit");
  const stage = await loadStage(checkpoint, "fast");
  const whole = feed([stage], 0, tokens);
  feed([stage], 1, [...tokens.slice(0, 20), 7, 8, 9, 10, 11]);
  const rest = feed([stage], 1, tokens.slice(20), [3, 1], 20);
  expect(stage.length(1)).toBe(tokens.length);
  expect(bits(rest)).toBe(bits(whole.subarray(20 * checkpoint.spec.hiddenSize)));
  stage.dispose();
  await checkpoint.close();
});

it("the last position of the context can be used, the one after it is refused by name", async () => {
  const checkpoint = await openTiny("llama-4bit-g32");
  const stage = await loadStage(checkpoint, "fast", { contextMax: 33 });
  const other = await loadStage(checkpoint, "fast", { contextMax: 100 });
  const prompt = tokens.slice(0, 33);
  expect(bits(feed([stage], 0, prompt, [32, 1]))).toBe(bits(feed([other], 0, prompt)));
  expect(() => feed([stage], 0, [5], [1], 33)).toThrow(MinidError);
  expect(stage.length(0)).toBe(33);
  stage.dispose();
  other.dispose();
  await checkpoint.close();
});

it("a long prompt shows progress between its parts", async () => {
  const checkpoint = await openTiny("llama-4bit-g32");
  const stage = await loadStage(checkpoint, "fast", { contextMax: 600 });
  let calls = 0;
  const long = Array.from({ length: 513 }, (_, at) => at % 400);
  stage.forward([{ slot: 0, position: 0, rows: 513 }], stage.embed(Int32Array.from(long)), () => { calls += 1; });
  expect(calls).toBeGreaterThanOrEqual(5);
  stage.dispose();
  await checkpoint.close();
});

it("slots of a long context cost what they hold, and nothing once dropped", async () => {
  const checkpoint = await openTiny("qwen3-8bit");
  const stage = await loadStage(checkpoint, "fast", { contextMax: 100_000, slots: 32 });
  const before = process.memoryUsage().rss;
  expect(stage.memory().kvBytes).toBe(0);
  feed([stage], 31, tokens);
  expect(stage.memory().kvBytes).toBeGreaterThan(0);
  expect(stage.memory().kvBytes).toBeLessThan(2e6);
  expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
  stage.drop(31);
  expect(stage.memory().kvBytes).toBe(0);
  expect(stage.length(31)).toBe(0);
  stage.dispose();
  await checkpoint.close();
});

it("sequences that come and go leave memory where it was", async () => {
  const checkpoint = await openTiny("qwen3-8bit");
  const stage = await loadStage(checkpoint, "fast", { contextMax: 2000, slots: 8 });
  const long = Array.from({ length: 512 }, (_, at) => at % 400);
  const turn = (): void => {
    for (let slot = 0; slot < 8; slot += 1) feed([stage], slot, long);
    for (let slot = 0; slot < 8; slot += 1) stage.drop(slot);
  };
  turn();
  turn();
  const plateau = process.memoryUsage().rss;
  for (let time = 0; time < 5; time += 1) turn();
  // What the slots hold at most is 16 MB; five rounds of it would be 80.
  expect(process.memoryUsage().rss - plateau).toBeLessThan(40e6);
  stage.dispose();
  await checkpoint.close();
});

it("stages that are loaded and disposed of leave memory where it was", async () => {
  const checkpoint = await openTiny("qwen3-bf16-tied");
  const cycle = async (): Promise<void> => {
    const stage = await loadStage(checkpoint, "exact");
    feed([stage], 0, tokens);
    feed([stage], 0, [1], [1], tokens.length);
    stage.dispose();
  };
  for (let time = 0; time < 6; time += 1) await cycle();
  const plateau = process.memoryUsage().rss;
  for (let time = 0; time < 20; time += 1) await cycle();
  expect(process.memoryUsage().rss - plateau).toBeLessThan(25e6);
  await checkpoint.close();
});

it("loads that are given up leave neither memory nor files behind, at whatever point they are", async () => {
  const checkpoint = await openCheckpoint(smolDirectory);
  const layers = { first: 0, end: checkpoint.spec.layerCount };
  const engine = createOnnxEngine();
  /** @returns how often progress was told until the load was given up at the `nth` time, or ended. */
  const giveUpAt = async (nth: number): Promise<number> => {
    let told = 0;
    const load = engine.load({ checkpoint, layers, ownsText: true, numerics: "fast", threads: 1, slots: 4, contextMax: 200, batchMax: 2, onProgress: () => {
      told += 1;
      if (told === nth) throw new MinidError("cancelled", "another load took the place of this one");
    } });
    await load.then((stage) => { stage.dispose(); }, (error: unknown) => { expect(error).toMatchObject({ code: "cancelled" }); });
    return told;
  };
  const scratch = mkdtempSync(join(tmpdir(), "minid-given-up-"));
  vi.stubEnv("TMPDIR", scratch);
  const steps = await giveUpAt(Infinity);
  for (const share of [0.3, 0.6, 0.9, 1]) await giveUpAt(Math.floor(steps * share));
  const plateau = process.memoryUsage().rss;
  for (let time = 0; time < 6; time += 1) for (const share of [0.5, 0.9, 1]) await giveUpAt(Math.floor(steps * share));
  // Of 18 loads kept each would be 70 to 150 MB.
  expect(process.memoryUsage().rss - plateau).toBeLessThan(120e6);
  expect(readdirSync(scratch)).toEqual([]);
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true });
  await checkpoint.close();
}, 300_000);

it("computes on when temporary files have been tidied away", async () => {
  const temporary = mkdtempSync(join(tmpdir(), "minid-tidied-"));
  const checkpoint = await openTiny("qwen3-8bit");
  vi.stubEnv("TMPDIR", temporary);
  try {
    const stage = await loadStage(checkpoint, "fast");
    for (const slot of [0, 1]) feed([stage], slot, tokens);
    for (const folder of readdirSync(temporary)) rmSync(join(temporary, folder), { recursive: true });
    // Two sequences at once need a session that there was none of yet.
    const together = stage.forward([0, 1].map((slot) => ({ slot, position: tokens.length, rows: 1 })), stage.embed(Int32Array.of(7, 7)), () => undefined);
    expect(together).toHaveLength(2 * checkpoint.spec.hiddenSize);
    stage.dispose();
    expect(readdirSync(temporary)).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
    await checkpoint.close();
    rmSync(temporary, { recursive: true, force: true });
  }
});

it("tidies up behind workers that were killed, and behind nobody who lives", async () => {
  const temporary = mkdtempSync(join(tmpdir(), "minid-orphans-"));
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const kept = [`minid-onnx-${process.pid}-living`, `minid-onnx-${process.ppid}-living`, "minid-onnx-nobody", `other-${dead}-x`];
  for (const name of [...kept, `minid-onnx-${dead}-orphan`]) mkdirSync(join(temporary, name, "in"), { recursive: true });
  const checkpoint = await openTiny("qwen3-8bit");
  vi.stubEnv("TMPDIR", temporary);
  try {
    (await loadStage(checkpoint, "fast")).dispose();
    expect(readdirSync(temporary).toSorted()).toEqual(kept.toSorted());
  } finally {
    vi.unstubAllEnvs();
    await checkpoint.close();
    rmSync(temporary, { recursive: true, force: true });
  }
});
