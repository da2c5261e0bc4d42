/**
 * A stage on MLX. On the CPU backend everything a row sees is computed for that row alone (attention and plain matrices row by row; the
 * quantized kernel is a loop over rows anyway), because BLAS rounds with the shape: so a row's bits depend on its own sequence only, by construction.
 * On Metal rows go together, in the checkpoint's half precision, and prefill may round differently from decode: `engine.ts` says so.
 */
import { invariant } from "../../../core/invariant.js";
import { MinidError } from "../../../core/errors.js";
import { fillRopeTables } from "../../../model/rope.js";
import type { ModelSpec } from "../../../model/spec.js";
import type { Span, Stage, StageOptions } from "../engine.js";
import type { MxArray, MxCore, MxDtype } from "./binding.js";
import { HostArrays } from "./host-arrays.js";
import { KvCache } from "./kv-cache.js";
import { Layer } from "./layer.js";
import type { SpanContext } from "./layer.js";
import { Ops } from "./ops.js";
import { WeightLoader } from "./weights.js";
import type { Linear } from "./weights.js";

export interface StageArithmetic {
  readonly compute: MxDtype;
  readonly dequantized: boolean;
  readonly rowByRow: boolean;
}

/** With more rows than this, each layer is computed and its intermediates are freed before the next. */
const rowsAtOnceMax = 16;

interface Text { readonly embedding: Linear; readonly finalNorm: MxArray; readonly head: Linear }

export class MlxStage implements Stage {
  readonly #mx: MxCore;
  readonly #ops: Ops;
  readonly #host: HostArrays;
  readonly #loader: WeightLoader;
  readonly #spec: ModelSpec;
  readonly #arithmetic: StageArithmetic;
  readonly #contextMax: number;
  readonly #layers: readonly Layer[];
  readonly #text: Text | undefined;
  readonly #slots: KvCache[];
  readonly #cos: Float32Array;
  readonly #sin: Float32Array;

  constructor(mx: MxCore, options: StageOptions, arithmetic: StageArithmetic) {
    const { checkpoint, layers: range, slots, contextMax } = options;
    const { spec } = checkpoint;
    this.#mx = mx;
    this.#spec = spec;
    this.#arithmetic = arithmetic;
    this.#contextMax = contextMax;
    this.#ops = new Ops(mx);
    const total = stageBytes(options);
    let loaded = 0;
    this.#loader = new WeightLoader(mx, this.#ops, bytes => options.onProgress?.(loaded += bytes, total));
    this.#layers = checkpoint.layers.slice(range.first, range.end).map((weights, index) => new Layer(this.#ops, spec, index, weights, this.#loader, arithmetic));
    this.#text = options.ownsText
      ? {
          embedding: this.#loader.linear(checkpoint.embedding, arithmetic),
          finalNorm: this.#loader.tensor(checkpoint.finalNorm, arithmetic.compute),
          head: this.#loader.linear(checkpoint.head, arithmetic),
        }
      : undefined;
    this.#loader.done();
    this.#host = new HostArrays(mx, this.#ops);
    this.#slots = Array.from({ length: slots }, () => new KvCache(mx, this.#ops, this.#layers.length, spec.kvHeadCount, spec.headDim, arithmetic.compute));
    this.#cos = new Float32Array((contextMax * spec.headDim) / 2);
    this.#sin = new Float32Array(this.#cos.length);
    fillRopeTables(spec.rope, spec.headDim, this.#cos, this.#sin);
  }

  memory(): { readonly weightBytes: number; readonly kvBytes: number } {
    return { weightBytes: this.#loader.byteLength, kvBytes: this.#slots.reduce((bytes, slot) => bytes + slot.byteLength, 0) };
  }

  embed(tokens: Int32Array): Float32Array {
    const { embedding } = this.#ownText();
    const outside = tokens.find(token => token < 0 || token >= this.#spec.vocabSize);
    if (outside !== undefined) throw new MinidError("invalid_value", `token ${outside} is outside the model's vocabulary of ${this.#spec.vocabSize}: send token ids below that`);
    return this.#computed(() => embedding.rows(this.#host.indices(tokens)));
  }

  forward(spans: readonly Span[], hidden: Float32Array, onProgress: () => void): Float32Array {
    const rows = spans.reduce((sum, span) => sum + span.rows, 0);
    invariant(hidden.length === rows * this.#spec.hiddenSize, `forward: ${hidden.length} numbers for ${rows} rows`);
    for (const span of spans) this.#slot(span.slot).begin(span.position, span.rows);
    const half = this.#spec.headDim / 2;
    const table = (values: Float32Array, { position, rows: count }: Span): MxArray =>
      this.#cast(this.#host.fromHost(values.subarray(position * half, (position + count) * half), 1, 1, count, half));
    const contexts: SpanContext[] = spans.map(span => {
      invariant(span.position + span.rows <= this.#contextMax, `a span up to position ${span.position + span.rows} in a context of ${this.#contextMax}`);
      return { span, cache: this.#slot(span.slot), cos: table(this.#cos, span), sin: table(this.#sin, span), ...this.#mask(span) };
    });
    let x = this.#cast(this.#host.fromHost(hidden, rows, this.#spec.hiddenSize));
    const kept = [x, ...contexts.flatMap(({ cos, sin, mask }) => (mask === undefined ? [cos, sin] : [cos, sin, mask]))];
    this.#ops.settle(...kept);

    const layerByLayer = this.#arithmetic.rowByRow || rows > rowsAtOnceMax;
    for (const [index, layer] of this.#layers.entries()) {
      const before = x;
      x = layer.forward(x, contexts);
      if (layerByLayer) {
        this.#mx.eval(x, ...contexts.flatMap(({ cache }) => cache.arrays(index)));
        this.#ops.release(x);
        if (index > 0) this.#ops.free(before);
        onProgress();
      }
    }
    if (!layerByLayer) {
      this.#mx.eval(x, ...contexts.flatMap(({ cache }) => this.#layers.flatMap((_, index) => cache.arrays(index))));
      onProgress();
    }
    const result = this.#computed(() => this.#ops.track(x));
    for (const array of kept) this.#ops.free(array);
    return result;
  }

  head(hidden: Float32Array): Float32Array {
    const { finalNorm, head } = this.#ownText();
    const { hiddenSize, rmsNormEps } = this.#spec;
    const rows = hidden.length / hiddenSize;
    invariant(Number.isInteger(rows), `head: ${hidden.length} numbers are no rows of ${hiddenSize}`);
    return this.#computed(() => head.apply(this.#ops.rmsNorm(this.#cast(this.#host.fromHost(hidden, rows, hiddenSize)), finalNorm, rmsNormEps)));
  }

  copy(from: number, to: number, length: number): void {
    if (from === to) this.#slot(to).begin(length, 0);
    else this.#slot(to).copyFrom(this.#slot(from), length);
  }

  drop(slot: number): void { this.#slot(slot).clear(); }
  length(slot: number): number { return this.#slot(slot).length; }

  dispose(): void {
    for (const slot of this.#slots.splice(0)) slot.dispose();
    this.#loader.dispose();
    this.#ops.release();
    this.#host.dispose();
  }

  #ownText(): Text {
    invariant(this.#text !== undefined, "a stage without the text was asked to embed or to make logits");
    return this.#text;
  }

  #slot(index: number): KvCache {
    const slot = this.#slots[index];
    invariant(slot !== undefined, `slot ${index} of ${this.#slots.length}`);
    return slot;
  }

  #cast(array: MxArray): MxArray {
    return this.#arithmetic.compute === this.#mx.float32 ? array : this.#ops.cast(array, this.#arithmetic.compute);
  }

  /** What `build` describes, computed, on the host; everything made on the way is freed. */
  #computed(build: () => MxArray): Float32Array {
    const array = build();
    const result = this.#host.toHost(this.#arithmetic.compute === this.#mx.float32 ? array : this.#ops.cast(array, this.#mx.float32));
    this.#ops.release();
    return result;
  }

  /** Causal, for rows that attend together. */
  #mask({ position, rows }: Span): { readonly mask?: MxArray } {
    if (this.#arithmetic.rowByRow || rows === 1) return {};
    const length = position + rows;
    const mask = new Float32Array(rows * length);
    for (let row = 0; row < rows; row += 1) mask.fill(-Infinity, row * length + position + row + 1, (row + 1) * length);
    return { mask: this.#cast(this.#host.fromHost(mask, rows, length)) };
  }
}

/** Bytes on disk that a stage reads. */
function stageBytes({ checkpoint, layers, ownsText }: StageOptions): number {
  const refs = new Set<{ readonly byteLength: number }>();
  const collect = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("byteLength" in value && "file" in value) refs.add(value as { readonly byteLength: number });
    else for (const part of Object.values(value)) collect(part);
  };
  collect(checkpoint.layers.slice(layers.first, layers.end));
  if (ownsText) collect([checkpoint.embedding, checkpoint.finalNorm, checkpoint.head]);
  return [...refs].reduce((bytes, ref) => bytes + ref.byteLength, 0);
}
