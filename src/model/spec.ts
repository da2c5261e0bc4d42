/**
 * What a decoder-only transformer is, in the numbers an engine needs to build its graph and a planner to cut it.
 * Families (`families/`) turn a checkpoint's `config.json` into this; nothing past this point asks for a family's name.
 */

export interface RopeSpec {
  readonly theta: number;
  /** Rotary dimensions are the whole head; halves are rotated (GPT-NeoX layout), never interleaved. */
  readonly scaling:
    | { readonly kind: "none" }
    /** Position interpolation: positions divided by `factor`. */
    | { readonly kind: "linear"; readonly factor: number }
    /** Llama 3.1's wavelength-dependent scaling (arXiv 2407.21783; `rope_type: llama3`). */
    | { readonly kind: "llama3"; readonly factor: number; readonly lowFreqFactor: number; readonly highFreqFactor: number; readonly originalMaxPositions: number };
}

/** MLX affine quantization: w = scale * q + bias for each group of `groupSize` along the input dimension. */
export interface QuantizationSpec {
  readonly bits: 4 | 8;
  readonly groupSize: 32 | 64 | 128;
}

export interface ModelSpec {
  /** `model_type` of the checkpoint: for messages only. */
  readonly family: string;
  readonly hiddenSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** Longest sequence in tokens, prompt and answer together. */
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly rope: RopeSpec;
  readonly tiedEmbeddings: boolean;
  /** Which projections carry a bias vector. */
  readonly bias: { readonly qkv: boolean; readonly o: boolean; readonly mlp: boolean };
  /** RMS norm over each head's q and k before the rotation (Qwen3). */
  readonly qkNorm: boolean;
}

/** Layers [first, end) of the model, 0-based. */
export interface LayerRange { readonly first: number; readonly end: number }

/** Bytes of key and value cache for one token in one layer, at float32. */
export function kvBytesPerTokenLayer(spec: ModelSpec): number {
  return 2 * spec.kvHeadCount * spec.headDim * 4;
}
