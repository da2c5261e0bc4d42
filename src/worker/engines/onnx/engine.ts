/** The onnx engine: stages computed by the libonnxruntime that onnxruntime-node ships, on the CPU. */
import { createRequire } from "node:module";
import { MinidError } from "../../../core/errors.js";
import type { Engine, Stage, StageOptions } from "../engine.js";
import { KvCache } from "./kv-cache.js";
import { OrtApi } from "./ort-api.js";
import { SessionPool } from "./sessions.js";
import { OnnxStage } from "./stage.js";
import { type StageWeights, loadStageWeights } from "./stage-weights.js";
import { WeightFiles } from "./weight-files.js";
import { WeightTable } from "./weight-table.js";

export interface OnnxEngineOptions {
  /** Told of tensors that `fast` cannot take as they are and quantizes anew. */
  readonly onRequantized?: (tensor: string) => void;
}

/** The library is opened by the first `load`. */
export function createOnnxEngine(options: OnnxEngineOptions = {}): Engine {
  let api: OrtApi | undefined;
  const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json") as { version: string };
  return {
    name: "onnx",
    replay: "prefill",
    description: `onnxruntime ${version} cpu`,
    preload() { api ??= OrtApi.open(); },
    async load(stageOptions) {
      api ??= OrtApi.open();
      return await loadStage(api, stageOptions, options);
    },
  };
}

async function loadStage(api: OrtApi, options: StageOptions, engineOptions: OnnxEngineOptions): Promise<Stage> {
  const { checkpoint, layers, slots, contextMax, batchMax, threads, ownsText } = options;
  const { spec } = checkpoint;
  if (layers.first < 0 || layers.end > spec.layerCount || layers.first >= layers.end) {
    throw new MinidError("engine_failed", `layers ${layers.first} to ${layers.end} are not a range of the model's ${spec.layerCount}: make a new plan`);
  }
  const capacity = contextMax + 1;
  const table = new WeightTable(api, new WeightFiles(api.libc));
  // No garbage collector knows of this memory. In the order in which it is given back when the load ends early: another one took its place, a file is damaged.
  const held: { dispose: () => void }[] = [table];
  try {
    const weights = await loadStageWeights(table, options, capacity, engineOptions.onRequantized ?? (() => {}));
    const kv = new KvCache(api, { layers: layers.end - layers.first, heads: spec.kvHeadCount, headDim: spec.headDim, capacity }, slots + 1);
    held.unshift(kv);
    const sessions = new SessionPool(api, table, weights, threads);
    held.unshift(sessions);
    const stage = new OnnxStage({
      api, spec, table, kv, sessions, contextMax, batchMax, loneRows: loneRows(weights),
      layerCount: layers.end - layers.first,
      spareSlot: slots,
      embedding: ownsText ? checkpoint.embedding : undefined,
    });
    held.splice(0, held.length, stage);
    stage.prepare(() => { options.onProgress?.(weights.totalBytes, weights.totalBytes); });
    return stage;
  } catch (error) {
    for (const resource of held) resource.dispose();
    api.libc.trim();
    throw error;
  }
}

/**
 * One row alone goes through the same arithmetic as among others: measured for 8-bit and float32 matrices on x86-64, with and without
 * VNNI. At 4 bits it does not, and elsewhere nobody looked: there a lone row is given a companion.
 */
function loneRows({ parts, head }: StageWeights): 1 | 2 {
  const linears = parts.layers.flatMap(({ qkv, o, gateUp, down }) => [qkv, o, gateUp, down]);
  const pieces = [...linears, ...(head ? [head.linear] : [])].flatMap((linear) => linear.pieces);
  const agree = process.arch === "x64" && pieces.every((piece) => piece.kind === "float" || piece.bits === 8 || piece.correction !== undefined);
  return agree ? 1 : 2;
}
