/**
 * A loaded stage: turns spans of rows into runs of the right session.
 *
 * Rows of one sequence go through in chunks; sequences with a single new row go together in a batch. Every run has an even number of
 * rows, the last one repeated where needed (graph-layers.ts says why): a repeated row writes its key past the sequence's end.
 */
import { invariant } from "../../../core/invariant.js";
import { MinidError } from "../../../core/errors.js";
import type { LayerRange, ModelSpec } from "../../../model/spec.js";
import type { LinearWeights } from "../../../model/weights.js";
import type { Span, Stage } from "../engine.js";
import { type GraphShape, portNames } from "./graph-layers.js";
import type { KvCache } from "./kv-cache.js";
import { addressOf } from "./native-memory.js";
import type { Handle, OrtApi } from "./ort-api.js";
import { RowBuffers, evenUp } from "./row-buffers.js";
import type { OrtSession } from "./session.js";
import type { SessionPool } from "./sessions.js";
import type { WeightTable } from "./weight-table.js";

/** Rows of one run: more cost memory without being faster. */
export const chunkRowsMax = 128;
const chunkRowsMin = 16;
/** Multiply-adds of one run, some tenths of a second on two cores: progress is told between runs. */
const runWorkMax = 4e10;
/** Layers of one session: planning a graph costs with the square of its size (sessions.ts), running one 0.03 ms. */
const sessionLayersMax = 8;
/** Rows of one run of the head: bounds the logits held twice. */
const headRowsMax = 32;

export interface StageResources {
  readonly api: OrtApi;
  readonly spec: ModelSpec;
  readonly layerCount: number;
  readonly table: WeightTable;
  readonly sessions: SessionPool;
  readonly kv: KvCache;
  /** The slot that padding rows of a batch write to. */
  readonly spareSlot: number;
  readonly contextMax: number;
  readonly batchMax: number;
  /** Rows with which a lone sequence decodes: 1 where every kernel gives one row the bits it has among others, else 2. */
  readonly loneRows: 1 | 2;
  /** Present on rank 0. */
  readonly embedding: LinearWeights | undefined;
}

/** @property total tokens that the slot's cache holds after the run, padding included. */
interface Cache { readonly slot: number; readonly total: number }
interface Work { readonly span: Span; readonly firstRow: number }

export class OnnxStage implements Stage {
  readonly #parts: StageResources;
  readonly #buffers: RowBuffers;
  readonly #headBuffers: RowBuffers | undefined;
  readonly #lengths: Int32Array;
  readonly #totals: Int32Array;
  readonly #lengthTensors: readonly Handle[];
  readonly #totalTensors: readonly Handle[];
  readonly #chunkRows: number;
  /** The stage's layers, session by session. */
  readonly #ranges: readonly LayerRange[];

  constructor(parts: StageResources) {
    this.#parts = parts;
    const { api, spec, batchMax } = parts;
    const rowsMax = Math.max(chunkRowsMax, batchSize(batchMax));
    const rowsOfWork = Math.floor(runWorkMax / stageWeightCount(spec, parts.layerCount) / 2) * 2;
    this.#chunkRows = Math.min(chunkRowsMax, Math.max(chunkRowsMin, rowsOfWork));
    this.#ranges = evenRanges(parts.layerCount, sessionLayersMax);
    this.#buffers = new RowBuffers(api, rowsMax, spec.hiddenSize, spec.hiddenSize);
    this.#headBuffers = parts.embedding && new RowBuffers(api, headRowsMax, spec.hiddenSize, spec.vocabSize);
    const sequences = batchSize(batchMax);
    this.#lengths = new Int32Array(sequences);
    this.#totals = new Int32Array(sequences);
    const scalars = (of: Int32Array): Handle[] => Array.from(of, (_, row) => api.tensor(addressOf(of) + BigInt(row * of.BYTES_PER_ELEMENT), "int32", [1]));
    this.#lengthTensors = scalars(this.#lengths);
    this.#totalTensors = scalars(this.#totals);
  }

  /** Makes the sessions that the first token of every sequence needs. @param onProgress called after each. */
  prepare(onProgress: () => void): void {
    for (const range of this.#ranges) {
      this.#session({ kind: "sequence" }, range);
      onProgress();
    }
    if (this.#headBuffers) this.#headSession(this.#headBuffers);
  }

  warm(): boolean {
    const shape = { kind: "batch", rows: this.#parts.loneRows } as const;
    const cold = this.#ranges.filter((range) => !this.#parts.sessions.has(shape, range));
    if (cold[0]) this.#session(shape, cold[0]);
    return cold.length > 1;
  }

  memory(): { readonly weightBytes: number; readonly kvBytes: number } {
    return { weightBytes: this.#parts.table.keptBytes + this.#parts.table.packedBytes, kvBytes: this.#parts.kv.touchedBytes };
  }

  embed(tokens: Int32Array): Float32Array {
    const { embedding, spec, table } = this.#parts;
    invariant(embedding, "only the stage that owns the text embeds");
    const out = new Float32Array(tokens.length * spec.hiddenSize);
    tokens.forEach((token, row) => {
      invariant(token >= 0 && token < spec.vocabSize, `token ${token} is in the vocabulary`);
      out.set(table.files.rows(embedding, token, 1), row * spec.hiddenSize);
    });
    return out;
  }

  forward(spans: readonly Span[], hidden: Float32Array, onProgress: () => void): Float32Array {
    const { spec, kv, contextMax, batchMax } = this.#parts;
    const out = new Float32Array(hidden.length);
    const single: Work[] = [];
    const many: Work[] = [];
    let firstRow = 0;
    for (const span of spans) {
      const end = span.position + span.rows;
      invariant(span.rows > 0 && span.position <= kv.length(span.slot), `slot ${span.slot} holds the ${span.position} tokens before the span`);
      if (end > contextMax) throw new MinidError("context_length_exceeded", `slot ${span.slot} would hold ${end} tokens, more than the ${contextMax} it has room for: shorten the sequence or raise the context`);
      (span.rows === 1 ? single : many).push({ span, firstRow });
      firstRow += span.rows;
    }
    invariant(hidden.length === firstRow * spec.hiddenSize, "hidden has the spans' rows");
    for (const { span, firstRow: first } of many) {
      for (let done = 0; done < span.rows; done += this.#chunkRows) {
        const rows = Math.min(this.#chunkRows, span.rows - done);
        this.#runSequence(span.slot, span.position + done, rows, hidden, out, first + done);
        onProgress();
      }
    }
    for (let at = 0; at < single.length; at += batchMax) {
      this.#runBatch(single.slice(at, at + batchMax), hidden, out);
      onProgress();
    }
    return out;
  }

  head(hidden: Float32Array): Float32Array {
    const { spec } = this.#parts;
    const buffers = this.#headBuffers;
    invariant(buffers, "only the stage that owns the text has a head");
    const rows = hidden.length / spec.hiddenSize;
    const logits = new Float32Array(rows * spec.vocabSize);
    const session = this.#headSession(buffers);
    for (let first = 0; first < rows; first += headRowsMax) {
      const count = Math.min(headRowsMax, rows - first);
      buffers.load(hidden, first, count, 0);
      const padded = buffers.pad(count);
      this.#bindRows(session, buffers, padded);
      session.run();
      buffers.store(logits, first, count, 0);
    }
    return logits;
  }

  copy(from: number, to: number, length: number): void { this.#parts.kv.copy(from, to, length); }
  drop(slot: number): void { this.#parts.kv.drop(slot); }
  length(slot: number): number { return this.#parts.kv.length(slot); }

  dispose(): void {
    const { api, sessions, kv, table } = this.#parts;
    sessions.dispose();
    kv.dispose();
    this.#buffers.dispose();
    this.#headBuffers?.dispose();
    for (const tensor of [...this.#lengthTensors, ...this.#totalTensors]) api.release("value", tensor);
    table.dispose();
    api.libc.trim();
  }

  #runSequence(slot: number, position: number, rows: number, hidden: Float32Array, out: Float32Array, firstRow: number): void {
    const { kv } = this.#parts;
    const sessions = this.#layers({ kind: "sequence" });
    this.#buffers.load(hidden, firstRow, rows, 0);
    const padded = this.#buffers.pad(rows);
    this.#run(sessions, padded, [{ slot, total: position + padded }]);
    kv.wrote(slot, position + rows, position + padded);
    this.#buffers.store(out, firstRow, rows, 0);
  }

  #runBatch(batch: readonly Work[], hidden: Float32Array, out: Float32Array): void {
    const { kv, spareSlot, loneRows } = this.#parts;
    const size = batch.length === 1 ? loneRows : batchSize(batch.length);
    const sessions = this.#layers({ kind: "batch", rows: size });
    const caches: Cache[] = batch.map(({ span, firstRow }, row) => {
      this.#buffers.load(hidden, firstRow, 1, row);
      // Attention sees the row twice.
      return { slot: span.slot, total: span.position + 2 };
    });
    for (let row = batch.length; row < size; row += 1) {
      this.#buffers.repeat(row - 1, row);
      caches.push({ slot: spareSlot, total: 2 });
    }
    this.#run(sessions, size, caches);
    batch.forEach(({ span, firstRow }, row) => {
      kv.wrote(span.slot, span.position + 1, span.position + 2);
      this.#buffers.store(out, firstRow, 1, row);
    });
  }

  /** One for each range. Before the buffers are filled: a session that has to be made is tried out in them. */
  #layers(shape: GraphShape): OrtSession[] { return this.#ranges.map((range) => this.#session(shape, range)); }

  /** All layers, session after session, over what the buffers hold. @param caches one for each sequence of the graph. */
  #run(sessions: readonly OrtSession[], rows: number, caches: readonly Cache[]): void {
    sessions.forEach((session, at) => {
      const range = this.#ranges[at];
      invariant(range, "there is a session for each range");
      if (at > 0) this.#buffers.chain(rows);
      this.#bindRows(session, this.#buffers, rows);
      caches.forEach((cache, row) => { this.#bindSequence(session, range, row, cache); });
      session.run();
    });
  }

  #session(shape: GraphShape, range: LayerRange): OrtSession {
    const { sessions, spareSlot } = this.#parts;
    return sessions.layers(shape, range, (session) => {
      const rows = shape.kind === "batch" ? shape.rows : 2;
      const sequences = shape.kind === "batch" ? shape.rows : 1;
      for (let row = 0; row < sequences; row += 1) this.#bindSequence(session, range, row, { slot: spareSlot, total: 2 });
      return this.#probe(session, this.#buffers, rows);
    });
  }

  #headSession(buffers: RowBuffers): OrtSession {
    return this.#parts.sessions.head((session) => this.#probe(session, buffers, 2));
  }

  #probe(session: OrtSession, buffers: RowBuffers, rows: number): Uint8Array {
    buffers.loadPattern(rows);
    this.#bindRows(session, buffers, rows);
    session.run();
    return buffers.results(rows);
  }

  #bindRows(session: OrtSession, buffers: RowBuffers, rows: number): void {
    session.bindInput(session.input(portNames.hidden), buffers.inputTensor(rows));
    session.bindOutput(session.output(portNames.result), buffers.outputTensor(rows));
  }

  #bindSequence(session: OrtSession, range: LayerRange, row: number, { slot, total }: Cache): void {
    this.#lengths[row] = total - 1;
    this.#totals[row] = total;
    session.bindInput(session.input(portNames.lengths(row)), this.#lengthTensors[row]!);
    session.bindInput(session.input(portNames.total(row)), this.#totalTensors[row]!);
    const tensors = this.#parts.kv.tensors(slot);
    for (let layer = range.first; layer < range.end; layer += 1) {
      const key = tensors[layer * 2]!;
      const value = tensors[layer * 2 + 1]!;
      session.bindInput(session.input(portNames.pastKey(layer, row)), key);
      session.bindInput(session.input(portNames.pastValue(layer, row)), value);
      session.bindOutput(session.output(portNames.key(layer, row)), key);
      session.bindOutput(session.output(portNames.value(layer, row)), value);
    }
  }
}

/** [0, count) in as few ranges of at most `most` as possible, all about as long. */
function evenRanges(count: number, most: number): LayerRange[] {
  const parts = Math.ceil(count / most);
  return Array.from({ length: parts }, (_, part) => ({ first: Math.floor((part * count) / parts), end: Math.floor(((part + 1) * count) / parts) }));
}

/** Few sizes, so that few sessions are made: 2, 4, 6, 8, then multiples of 4. */
export function batchSize(rows: number): number {
  return rows <= 8 ? evenUp(rows) : Math.ceil(rows / 4) * 4;
}

/** Weights of the stage's matrices. */
function stageWeightCount(spec: ModelSpec, layerCount: number): number {
  const attention = spec.hiddenSize * spec.headDim * (2 * spec.headCount + 2 * spec.kvHeadCount);
  return layerCount * (attention + 3 * spec.hiddenSize * spec.intermediateSize);
}
