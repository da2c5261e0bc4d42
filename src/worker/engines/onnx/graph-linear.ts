/**
 * The graph of a linear layer. Activations are [rows, inputs]; results [rows, outputs].
 *
 *  - `int8`: MatMulNBits with 8-bit activations (accuracy_level 4).
 *  - `int16`: x is split, group by group, into hi (exactly representable in 8 bits) and lo (the rest); both go through one
 *    MatMulNBits as rows, so weights are streamed once, and their sum has ~16-bit activations. The sums of x over each group times the
 *    correction matrix restore the bias that an integer zero point rounds away.
 *  - float32 pieces: a plain matrix product.
 */
import { invariant } from "../../../core/invariant.js";
import type { Linear, Piece } from "./linear.js";
import type { ModelBuilder } from "./model-builder.js";
import type { WeightTable } from "./weight-table.js";

/** MatMulNBits: quantize activations to int8 in blocks as large as the weights'. */
const int8Activations = 4;
const smallestScale = 1e-30;

/** Declares an initializer of the table in the graph. */
export function declare(graph: ModelBuilder, table: WeightTable, name: string): string {
  const { type, shape } = table.entry(name);
  return graph.initializer(name, type, shape);
}

export function linearNodes(graph: ModelBuilder, table: WeightTable, linear: Linear, x: string): string {
  const splits = new Map<number, SplitActivations>();
  const results = linear.pieces.map((piece) => {
    if (piece.kind === "float") return graph.contrib("FusedMatMul", [x, declare(graph, table, piece.weight)], { transB: 1 });
    if (piece.correction === undefined) return blocksNode(graph, table, piece, x, linear.inputs);
    let split = splits.get(piece.groupSize);
    if (split === undefined) {
      split = splitActivations(graph, x, linear.inputs, piece.groupSize);
      splits.set(piece.groupSize, split);
    }
    const both = blocksNode(graph, table, piece, split.hiLo, linear.inputs);
    const [hi, lo] = graph.nodes("Split", [both], 2, { axis: 0, num_outputs: 2 });
    invariant(hi !== undefined && lo !== undefined, "Split in two has two outputs");
    // Gemm, not MatMul and Add: the library would fuse those where it knows the shapes, and the two round differently when there are many groups.
    return graph.node("Gemm", [split.sums, declare(graph, table, piece.correction), graph.node("Add", [hi, lo])]);
  });
  const [first] = results;
  invariant(first !== undefined, "a linear layer has a piece");
  const joined = results.length === 1 ? first : graph.node("Concat", results, { axis: 1 });
  return linear.bias === undefined ? joined : graph.node("Add", [joined, declare(graph, table, linear.bias)]);
}

function blocksNode(graph: ModelBuilder, table: WeightTable, piece: Piece & { readonly kind: "blocks" }, x: string, inputs: number): string {
  const operands = [x, declare(graph, table, piece.weight), declare(graph, table, piece.scales), declare(graph, table, piece.zeros)];
  return graph.contrib("MatMulNBits", operands, { K: inputs, N: piece.outputs, bits: piece.bits, block_size: piece.groupSize, accuracy_level: int8Activations });
}

interface SplitActivations {
  /** [2 * rows, inputs]: all hi rows, then all lo rows. */
  readonly hiLo: string;
  /** [rows, groups] */
  readonly sums: string;
}

function splitActivations(graph: ModelBuilder, x: string, inputs: number, groupSize: number): SplitActivations {
  const lastAxis = graph.constant("int64", [1], [-1]);
  const grouped = graph.node("Reshape", [x, graph.constant("int64", [3], [-1, inputs / groupSize, groupSize])]);
  const largest = graph.node("ReduceMax", [graph.node("Abs", [grouped]), lastAxis], { keepdims: 1 });
  const scale = graph.node("Max", [graph.node("Div", [largest, graph.constant("float32", [], [127])]), graph.constant("float32", [], [smallestScale])]);
  const hi = graph.node("Mul", [graph.node("Round", [graph.node("Div", [grouped, scale])]), scale]);
  const lo = graph.node("Sub", [grouped, hi]);
  const hiLo = graph.node("Reshape", [graph.node("Concat", [hi, lo], { axis: 0 }), graph.constant("int64", [2], [-1, inputs])]);
  const sums = graph.node("ReduceSum", [grouped, lastAxis], { keepdims: 0 });
  return { hiLo, sums };
}
