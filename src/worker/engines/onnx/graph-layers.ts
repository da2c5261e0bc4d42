/**
 * The graph of a stage's layers, in two shapes over the same weights:
 *  - `sequence`: any even number of rows of one sequence, a prompt's chunk;
 *  - `batch`: one row each of one or several sequences.
 *
 * What keeps the bits of a row the same in both (docs/adr/0003-onnxruntime-through-ffi.md has the measurements):
 *  - attention never sees a single row, whose kernel rounds differently: in a batch each row is doubled for its attention and the
 *    second result thrown away; the second key and value land past the sequence's end, where the next token overwrites them;
 *  - every matrix sees an even number of rows (whoever runs the graph pads), or one where its kernels are known to agree;
 *  - a graph's first norm is the operator that it would be inside the whole model: a residual sum, here with zero.
 */
import { invariant } from "../../../core/invariant.js";
import type { LayerRange, ModelSpec } from "../../../model/spec.js";
import { declare, linearNodes } from "./graph-linear.js";
import type { Linear } from "./linear.js";
import { type InitializerStub, ModelBuilder } from "./model-builder.js";
import type { WeightTable } from "./weight-table.js";

export interface LayerParts {
  readonly inputNorm: string;
  readonly qkv: Linear;
  readonly o: Linear;
  readonly qNorm?: string;
  readonly kNorm?: string;
  readonly postAttentionNorm: string;
  readonly gateUp: Linear;
  readonly down: Linear;
}

export interface StageParts {
  readonly spec: ModelSpec;
  readonly layers: readonly LayerParts[];
  /** [capacity, headDim / 2] */
  readonly cos: string;
  readonly sin: string;
  /** Rows of a slot's cache: the longest sequence and one. */
  readonly capacity: number;
}

export type GraphShape = { readonly kind: "sequence" } | { readonly kind: "batch"; readonly rows: number };

/** Ports of sequence `row`; a `sequence` graph has only row 0. */
export const portNames = {
  hidden: "hidden",
  result: "result",
  /** int32 [1]: the tokens in the cache after the run, less one. */
  lengths: (row: number) => `lengths.${row}`,
  /** int32 [1]: the tokens in the cache after the run. */
  total: (row: number) => `total.${row}`,
  pastKey: (layer: number, row: number) => `past_key.${layer}.${row}`,
  pastValue: (layer: number, row: number) => `past_value.${layer}.${row}`,
  key: (layer: number, row: number) => `key.${layer}.${row}`,
  value: (layer: number, row: number) => `value.${layer}.${row}`,
};

/** @param range of the stage's layers: a stage is several graphs, one after another. */
export function layersGraph(parts: StageParts, range: LayerRange, table: WeightTable, shape: GraphShape, stub: InitializerStub): ModelBuilder {
  const graph = new ModelBuilder(stub);
  const { spec } = parts;
  const rows = shape.kind === "batch" ? shape.rows : "rows";
  const x = graph.input(portNames.hidden, "float32", [rows, spec.hiddenSize]);
  const sequences = shape.kind === "batch" ? shape.rows : 1;
  for (let row = 0; row < sequences; row += 1) {
    graph.input(portNames.lengths(row), "int32", [1]);
    graph.input(portNames.total(row), "int32", [1]);
  }
  const cache = [1, spec.kvHeadCount, parts.capacity, spec.headDim];
  for (let layer = range.first; layer < range.end; layer += 1) {
    for (let row = 0; row < sequences; row += 1) {
      graph.input(portNames.pastKey(layer, row), "float32", cache);
      graph.input(portNames.pastValue(layer, row), "float32", cache);
      graph.output(portNames.key(layer, row), "float32", cache);
      graph.output(portNames.value(layer, row), "float32", cache);
    }
  }
  let residual = x;
  let update = graph.node("Mul", [x, graph.constant("float32", [], [0])]);
  parts.layers.slice(range.first, range.end).forEach((layer, at) => {
    const index = range.first + at;
    const attention = skipNorm(graph, table, residual, update, layer.inputNorm, spec);
    const qkv = linearNodes(graph, table, layer.qkv, attention.normed);
    const mixed = attentionNodes(graph, table, parts, layer, index, shape, qkv);
    const mlp = skipNorm(graph, table, attention.sum, linearNodes(graph, table, layer.o, mixed), layer.postAttentionNorm, spec);
    const gateUp = linearNodes(graph, table, layer.gateUp, mlp.normed);
    const [gate, up] = graph.nodes("Split", [gateUp], 2, { axis: 1, num_outputs: 2 });
    invariant(gate !== undefined && up !== undefined, "Split in two has two outputs");
    const silu = graph.contrib("QuickGelu", [gate], { alpha: { float: 1 } });
    residual = mlp.sum;
    update = linearNodes(graph, table, layer.down, graph.node("Mul", [silu, up]));
  });
  graph.nodes("Add", [residual, update], [portNames.result]);
  graph.output(portNames.result, "float32", [rows, spec.hiddenSize]);
  return graph;
}

/** Final norm and head: [rows, hiddenSize] to logits [rows, vocabSize]. */
export function headGraph(spec: ModelSpec, norm: string, head: Linear, table: WeightTable, stub: InitializerStub): ModelBuilder {
  const graph = new ModelBuilder(stub);
  const x = graph.input(portNames.hidden, "float32", ["rows", spec.hiddenSize]);
  const normed = graph.node("SimplifiedLayerNormalization", [x, declare(graph, table, norm)], { axis: -1, epsilon: { float: spec.rmsNormEps }, stash_type: 1 });
  graph.nodes("Identity", [linearNodes(graph, table, head, normed)], [portNames.result]);
  graph.output(portNames.result, "float32", ["rows", spec.vocabSize]);
  return graph;
}

/** sum = residual + update, and its RMS norm. */
function skipNorm(graph: ModelBuilder, table: WeightTable, residual: string, update: string, weight: string, spec: ModelSpec): { readonly normed: string; readonly sum: string } {
  const [normed, , , sum] = graph.nodes("SkipSimplifiedLayerNormalization", [residual, update, declare(graph, table, weight)], [`${weight}.normed`, "", "", `${weight}.sum`], { epsilon: { float: spec.rmsNormEps } }, true);
  invariant(normed !== undefined && sum !== undefined, "the norm has two outputs");
  return { normed, sum };
}

/** @param qkv [rows, (headCount + 2 * kvHeadCount) * headDim]. @returns [rows, headCount * headDim]. */
function attentionNodes(graph: ModelBuilder, table: WeightTable, parts: StageParts, layer: LayerParts, index: number, shape: GraphShape, qkv: string): string {
  const { spec } = parts;
  const width = (spec.headCount + 2 * spec.kvHeadCount) * spec.headDim;
  const mixedWidth = spec.headCount * spec.headDim;
  const normed = normHeads(graph, table, spec, layer, qkv);
  if (shape.kind === "sequence") {
    const one = graph.node("Reshape", [normed, graph.constant("int64", [3], [1, -1, width])]);
    return graph.node("Reshape", [attentionNode(graph, table, parts, index, 0, one), graph.constant("int64", [2], [-1, mixedWidth])]);
  }
  const single = graph.node("Reshape", [normed, graph.constant("int64", [3], [shape.rows, 1, width])]);
  const doubled = graph.node("Concat", [single, single], { axis: 1 });
  const perRow = shape.rows === 1 ? [doubled] : graph.nodes("Split", [doubled], shape.rows, { axis: 0, num_outputs: shape.rows });
  const results = perRow.map((row, at) => attentionNode(graph, table, parts, index, at, row));
  const mixed = graph.node("Concat", results, { axis: 0 });
  const [first] = graph.nodes("Split", [mixed], 2, { axis: 1, num_outputs: 2 });
  invariant(first !== undefined, "Split in two has two outputs");
  return graph.node("Reshape", [first, graph.constant("int64", [2], [shape.rows, mixedWidth])]);
}

/** @param packed [1, rows, width]: q, k and v side by side. */
function attentionNode(graph: ModelBuilder, table: WeightTable, parts: StageParts, layer: number, row: number, packed: string): string {
  const { spec } = parts;
  const inputs = [packed, "", "", portNames.pastKey(layer, row), portNames.pastValue(layer, row), portNames.lengths(row), portNames.total(row), declare(graph, table, parts.cos), declare(graph, table, parts.sin)];
  const mixed = `mixed.${layer}.${row}`;
  graph.nodes("GroupQueryAttention", inputs, [mixed, portNames.key(layer, row), portNames.value(layer, row)], { num_heads: spec.headCount, kv_num_heads: spec.kvHeadCount, do_rotary: 1 }, true);
  return mixed;
}

/** RMS norm over each head of q and k, where the model has it. */
function normHeads(graph: ModelBuilder, table: WeightTable, spec: ModelSpec, layer: LayerParts, qkv: string): string {
  if (layer.qNorm === undefined || layer.kNorm === undefined) return qkv;
  const q = spec.headCount * spec.headDim;
  const k = spec.kvHeadCount * spec.headDim;
  const parts = graph.nodes("Split", [qkv, graph.constant("int64", [3], [q, k, k])], 3, { axis: 1 });
  const norm = (x: string | undefined, weight: string, heads: number): string => {
    invariant(x !== undefined, "Split in three has three outputs");
    const perHead = graph.node("Reshape", [x, graph.constant("int64", [3], [-1, heads, spec.headDim])]);
    const normed = graph.node("SimplifiedLayerNormalization", [perHead, declare(graph, table, weight)], { axis: -1, epsilon: { float: spec.rmsNormEps }, stash_type: 1 });
    return graph.node("Reshape", [normed, graph.constant("int64", [2], [-1, heads * spec.headDim])]);
  };
  const [queries, keys, values] = parts;
  invariant(values !== undefined, "Split in three has three outputs");
  return graph.node("Concat", [norm(queries, layer.qNorm, spec.headCount), norm(keys, layer.kNorm, spec.kvHeadCount), values], { axis: 1 });
}
