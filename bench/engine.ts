/**
 * The onnx engine alone, each numeric mode in a process of its own: load time, memory, prefill, decoding at several batch sizes and
 * what a further batch size costs. `npx tsx bench/engine.ts [MODEL_DIR] [--threads N]` prints a table and one line of JSON.
 *
 * Rates are of the median step. On a busy machine compare the `cpu` columns: processor time, not the clock.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../src/model/checkpoint.js";
import type { Numerics, Stage } from "../src/worker/engines/engine.js";
import { createOnnxEngine } from "../src/worker/engines/onnx/engine.js";
import { median } from "../test/soak/slope.js";

const modes: readonly Numerics[] = ["fast", "precise", "exact"];
const batches = [1, 2, 4, 8];
const chunkRows = 128;
const chunks = 6;
const steps = 40;
const contextRows = 64;

interface Cost { readonly wallMs: number; readonly cpuMs: number }
interface ModeReport {
  readonly numerics: Numerics;
  readonly threads: number;
  readonly loadMs: number;
  readonly rssLoadedMb: number;
  readonly rssAfterMb: number;
  readonly prefillChunk: Cost;
  readonly batches: readonly { readonly batch: number; readonly sessionMs: number; readonly sessionMb: number; readonly layers: Cost; readonly head: Cost }[];
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { threads: { type: "string" }, numerics: { type: "string" } } });
const directory = positionals[0] ?? fileURLToPath(new URL("../models/SmolLM2-135M-Instruct-8bit", import.meta.url));
const threads = Number(values.threads ?? availableParallelism());

if (values.numerics === undefined) reportAll();
else console.log(JSON.stringify(await measure(values.numerics as Numerics)));

function reportAll(): void {
  const reports = modes.map((numerics) => {
    const run = spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), directory, "--threads", String(threads), "--numerics", numerics], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    return JSON.parse(run.stdout) as ModeReport;
  });
  const rate = (rows: number, ms: number): string => (rows / ms * 1_000).toFixed(0).padStart(6);
  for (const { numerics, loadMs, rssLoadedMb, rssAfterMb, prefillChunk, batches: sizes } of reports) {
    console.log(`\n${numerics}, ${threads} threads: loaded in ${(loadMs / 1_000).toFixed(1)} s, ${rssLoadedMb.toFixed(0)} MB; ${rssAfterMb.toFixed(0)} MB with every batch size`);
    console.log(`  prefill        ${rate(chunkRows, prefillChunk.wallMs)} tok/s   ${prefillChunk.cpuMs.toFixed(0)} ms cpu for ${chunkRows} rows`);
    for (const { batch, sessionMs, sessionMb, layers, head } of sizes) {
      console.log(`  batch ${String(batch).padStart(2)}       ${rate(batch, layers.wallMs + head.wallMs)} tok/s   ${(layers.cpuMs + head.cpuMs).toFixed(1)} ms cpu a step   session ${sessionMs.toFixed(0)} ms, ${sessionMb.toFixed(0)} MB`);
    }
  }
  console.log(JSON.stringify(reports));
}

async function measure(numerics: Numerics): Promise<ModeReport> {
  const checkpoint = await openCheckpoint(directory);
  const startedAt = performance.now();
  const stage = await createOnnxEngine().load({ checkpoint, layers: { first: 0, end: checkpoint.spec.layerCount }, ownsText: true, numerics, threads, slots: Math.max(...batches), contextMax: 2_048, batchMax: Math.max(...batches) });
  const loadMs = performance.now() - startedAt;
  const rssLoadedMb = rssMb();
  const chunk = stage.embed(Int32Array.from({ length: chunkRows }, (_, row) => 1_000 + row * 37));
  const prefillChunk = typical(chunks, () => { stage.forward([{ slot: 0, position: 0, rows: chunkRows }], chunk, () => {}); });
  const sizes = batches.map((batch) => measureBatch(stage, batch));
  const report = { numerics, threads, loadMs, rssLoadedMb, rssAfterMb: rssMb(), prefillChunk, batches: sizes };
  stage.dispose();
  await checkpoint.close();
  return report;
}

function measureBatch(stage: Stage, batch: number): ModeReport["batches"][number] {
  const context = stage.embed(Int32Array.from({ length: contextRows }, (_, row) => 500 + row));
  for (let slot = 0; slot < batch; slot += 1) stage.forward([{ slot, position: 0, rows: contextRows }], context, () => {});
  const tokens = stage.embed(Int32Array.from({ length: batch }, (_, slot) => 2_000 + slot));
  let hidden = tokens;
  const step = (): void => { hidden = stage.forward(Array.from({ length: batch }, (_, slot) => ({ slot, position: contextRows, rows: 1 })), tokens, () => {}); };
  const before = rssMb();
  const startedAt = performance.now();
  step();
  const sessionMs = performance.now() - startedAt;
  const sessionMb = rssMb() - before;
  return { batch, sessionMs, sessionMb, layers: typical(steps, step), head: typical(steps, () => { stage.head(hidden); }) };
}

function typical(times: number, work: () => void): Cost {
  const costs = Array.from({ length: times }, () => {
    const cpu = process.cpuUsage();
    const from = performance.now();
    work();
    const wallMs = performance.now() - from;
    const { user, system } = process.cpuUsage(cpu);
    return { wallMs, cpuMs: (user + system) / 1_000 };
  });
  return { wallMs: median(costs.map(({ wallMs }) => wallMs)), cpuMs: median(costs.map(({ cpuMs }) => cpuMs)) };
}

function rssMb(): number { return process.memoryUsage().rss / 1e6; }
