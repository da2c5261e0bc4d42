/** One transformer layer over the rows of several spans. */
import type { ModelSpec } from "../../../model/spec.js";
import type { LayerWeights } from "../../../model/weights.js";
import type { Span } from "../engine.js";
import type { MxArray } from "./binding.js";
import type { KvCache } from "./kv-cache.js";
import type { Ops } from "./ops.js";
import type { Linear, LinearOptions, WeightLoader } from "./weights.js";

/** What a span brings to every layer. */
export interface SpanContext {
  readonly span: Span;
  readonly cache: KvCache;
  /** [1, 1, rows, headDim / 2]: the rotation of each of the span's positions. */
  readonly cos: MxArray;
  readonly sin: MxArray;
  /** [rows, position + rows], 0 where a row may look and -inf where not; absent where rows attend one by one. */
  readonly mask?: MxArray;
}

export class Layer {
  readonly #ops: Ops;
  readonly #spec: ModelSpec;
  /** Within the stage. */
  readonly #index: number;
  readonly #linears: Readonly<Record<"q" | "k" | "v" | "o" | "gate" | "up" | "down", Linear>>;
  readonly #inputNorm: MxArray;
  readonly #postAttentionNorm: MxArray;
  readonly #qNorm: MxArray | undefined;
  readonly #kNorm: MxArray | undefined;

  constructor(ops: Ops, spec: ModelSpec, index: number, weights: LayerWeights, loader: WeightLoader, options: LinearOptions) {
    this.#ops = ops;
    this.#spec = spec;
    this.#index = index;
    const linear = (name: "q" | "k" | "v" | "o" | "gate" | "up" | "down"): Linear => loader.linear(weights[name], options);
    this.#linears = { q: linear("q"), k: linear("k"), v: linear("v"), o: linear("o"), gate: linear("gate"), up: linear("up"), down: linear("down") };
    this.#inputNorm = loader.tensor(weights.inputNorm, options.compute);
    this.#postAttentionNorm = loader.tensor(weights.postAttentionNorm, options.compute);
    this.#qNorm = weights.qNorm === undefined ? undefined : loader.tensor(weights.qNorm, options.compute);
    this.#kNorm = weights.kNorm === undefined ? undefined : loader.tensor(weights.kNorm, options.compute);
  }

  /** @param x [rows, hiddenSize], the spans' rows one after another. @returns the same shape; the caches hold the rows' keys and values. */
  forward(x: MxArray, spans: readonly SpanContext[]): MxArray {
    const ops = this.#ops;
    const { rmsNormEps: eps } = this.#spec;
    const { q, k, v, o, gate, up, down } = this.#linears;
    const h = ops.rmsNorm(x, this.#inputNorm, eps);
    const queries = q.apply(h);
    const keys = k.apply(h);
    const values = v.apply(h);
    let row = 0;
    const attended = spans.map(context => {
      const [start, stop] = [row, row + context.span.rows];
      row = stop;
      return this.#attend(context, ops.slice(queries, 0, start, stop), ops.slice(keys, 0, start, stop), ops.slice(values, 0, start, stop));
    });
    const afterAttention = ops.add(x, o.apply(ops.concat(attended, 0)));
    const m = ops.rmsNorm(afterAttention, this.#postAttentionNorm, eps);
    return ops.add(afterAttention, down.apply(ops.multiply(ops.silu(gate.apply(m)), up.apply(m))));
  }

  /** @param q [rows, headCount * headDim]. @returns [rows, headCount * headDim]. */
  #attend(context: SpanContext, q: MxArray, k: MxArray, v: MxArray): MxArray {
    const ops = this.#ops;
    const { headCount, kvHeadCount, headDim } = this.#spec;
    const { span: { position, rows }, cache, mask } = context;
    cache.append(this.#index, position, rows, this.#rotate(this.#heads(k, kvHeadCount, this.#kNorm), context), this.#heads(v, kvHeadCount, undefined));
    const queries = this.#rotate(this.#heads(q, headCount, this.#qNorm), context);
    const scale = headDim ** -0.5;
    const over = (part: MxArray, length: number, partMask?: MxArray): MxArray => {
      const { keys, values } = cache.view(this.#index, length);
      return ops.attention(part, keys, values, scale, partMask);
    };
    const attended = mask !== undefined
      ? over(queries, position + rows, mask)
      : ops.concat(Array.from({ length: rows }, (_, row) => over(rows === 1 ? queries : ops.slice(queries, 2, row, row + 1), position + row + 1)), 2);
    return ops.reshape(ops.transpose(attended, 0, 2, 1, 3), rows, headCount * headDim);
  }

  /** [rows, heads * headDim] → [1, heads, rows, headDim], each head normalized where the model does that. */
  #heads(x: MxArray, heads: number, norm: MxArray | undefined): MxArray {
    const ops = this.#ops;
    const split = ops.reshape(x, 1, x.shape[0]!, heads, this.#spec.headDim);
    return ops.transpose(norm === undefined ? split : ops.rmsNorm(split, norm, this.#spec.rmsNormEps), 0, 2, 1, 3);
  }

  /** Rotates the halves of each head (GPT-NeoX layout). By tables and not by `fast.rope`, which knows no llama3 scaling. */
  #rotate(x: MxArray, { cos, sin }: SpanContext): MxArray {
    const ops = this.#ops;
    const half = this.#spec.headDim / 2;
    const a = ops.slice(x, 3, 0, half);
    const b = ops.slice(x, 3, half, 2 * half);
    return ops.concat([ops.subtract(ops.multiply(a, cos), ops.multiply(b, sin)), ops.add(ops.multiply(b, cos), ops.multiply(a, sin))], 3);
  }
}
