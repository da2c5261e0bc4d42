/**
 * What an engine is: it computes one stage (a range of layers, and on rank 0 also the embedding and the head) over rows of
 * several sequences, and keeps their key-value cache in numbered slots. Engines know nothing of ranks, epochs, sampling or networks.
 *
 * Invariants every engine keeps:
 *  - Bit-stability: the numbers computed for one sequence's row depend only on that sequence's tokens and the numerics mode:
 *    not on chunking, batch mates, slot, thread count or where layers are cut. An engine that cannot promise this across
 *    prefill and decode says `replay: "decode"`.
 *  - A stage never keeps a reference to buffers it was handed, and never returns memory it will write again.
 *  - Calls on one stage do not overlap; the host queues them.
 *
 * Runs inside the engine thread (`../engine-thread.ts`): methods may block.
 */
import type { Checkpoint } from "../../model/weights.js";
import type { LayerRange } from "../../model/spec.js";

/** `exact`: float32 arithmetic on the dequantized weights. `fast`: what serves. `precise`: near-float32 at a fraction of exact's cost. */
export type Numerics = "exact" | "fast" | "precise";
export type EngineName = "onnx" | "mlx";

export interface StageOptions {
  readonly checkpoint: Checkpoint;
  readonly layers: LayerRange;
  /** True on rank 0: the stage also embeds tokens and computes logits. */
  readonly ownsText: boolean;
  readonly numerics: Numerics;
  /** Threads for the engine's arithmetic; results do not depend on it. */
  readonly threads: number;
  /** Key-value slots, i.e. sequences that can be open at once, cached prefixes included. */
  readonly slots: number;
  /** Longest sequence in tokens that a slot may hold. */
  readonly contextMax: number;
  /** Most sequences that decode together in one forward. */
  readonly batchMax: number;
  /** Called as weights come in, with totals in bytes. */
  readonly onProgress?: (loadedBytes: number, totalBytes: number) => void;
}

/** Rows of one sequence in one forward: `rows` tokens at positions [position, position + rows). */
export interface Span {
  readonly slot: number;
  /** Tokens of this slot already in the cache, before this forward. Lower than the slot's length rewinds it. */
  readonly position: number;
  /** 1 for decoding; up to the prefill chunk for a prompt. */
  readonly rows: number;
}

export interface Stage {
  /** Bytes of weights and of touched key-value cache held in memory. */
  memory(): { readonly weightBytes: number; readonly kvBytes: number };

  /** Rank 0 only. @returns [tokens.length, hiddenSize] float32. */
  embed(tokens: Int32Array): Float32Array;

  /**
   * Runs the stage's layers and appends to the cache of each span's slot.
   * @param hidden [sum of rows, hiddenSize] float32, the spans' rows one after another.
   * @param onLayers called between the parts of a long computation, so that progress can be told from a hang.
   * @returns the same shape: the hidden state after the stage's last layer (before the final norm).
   */
  forward(spans: readonly Span[], hidden: Float32Array, onProgress: () => void): Float32Array;

  /** Rank 0 only: final norm and head. @param hidden [rows, hiddenSize]. @returns logits [rows, vocabSize] float32. */
  head(hidden: Float32Array): Float32Array;

  /** Makes slot `to` hold the first `length` tokens of slot `from`. What `to` held is gone. */
  copy(from: number, to: number, length: number): void;
  /** Empties a slot and gives its memory back to the system. */
  drop(slot: number): void;
  /** Tokens that a slot holds. */
  length(slot: number): number;

  /** Makes, a part a call, what the next steps will want besides what a first token wants. @returns whether more is to be made. */
  warm?(): boolean;

  /** Frees everything. The stage must not be used afterwards. */
  dispose(): void;
}

export interface Engine {
  readonly name: EngineName;
  /** How a sequence is rebuilt after a fault so that its bits are the same: re-prefill everything, or prefill the prompt and replay the rest through decode steps. */
  readonly replay: "prefill" | "decode";
  /** For status: `onnxruntime 1.30.0 cpu`, `mlx 0.0.7 metal`. */
  readonly description: string;
  /** Does ahead of the first load what is the same for every load. @throws MinidError engine_unavailable */
  preload?(): void;
  /** @throws MinidError model_corrupt | model_unsupported | engine_failed */
  load(options: StageOptions): Promise<Stage>;
}
