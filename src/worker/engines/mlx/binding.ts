/**
 * The native half of node-mlx (@frost-beta/mlx 0.0.7), loaded when asked for, typed with what minid uses of it (the package's own
 * types do not pass a strict compiler), and a plain answer where it does not load.
 */
import { createRequire } from "node:module";
import { MinidError } from "../../../core/errors.js";

declare const dtypeBrand: unique symbol;
export interface MxDtype { readonly [dtypeBrand]: true }

export interface MxSlice { readonly start: number | null; readonly stop: number | null; readonly step: number | null }
type MxIndex = MxSlice | null | number;

export interface MxArray {
  readonly shape: number[];
  readonly size: number;
  readonly nbytes: number;
  readonly T: MxArray;
  astype(dtype: MxDtype): MxArray;
  index(...index: MxIndex[]): MxArray;
  indexPut_(index: MxIndex | MxIndex[], value: MxArray): unknown;
  reshape(shape: number[]): MxArray;
  transpose(axes: number[]): MxArray;
  tolist(): unknown;
}

/** `mx`: what the binding exports as `core`. Ops build a lazy graph and throw on bad shapes; `eval` computes, blocking. */
export interface MxCore {
  readonly float32: MxDtype;
  readonly float16: MxDtype;
  readonly bfloat16: MxDtype;
  readonly int32: MxDtype;
  readonly metal: { isAvailable(): boolean };
  Slice(start?: number | null, stop?: number | null, step?: number | null): MxSlice;
  array(values: number[] | number, dtype?: MxDtype): MxArray;
  load(file: string): MxArray | Record<string, MxArray>;
  save(file: string, array: MxArray): void;
  eval(...arrays: MxArray[]): void;
  zeros(shape: number[], dtype: MxDtype): MxArray;
  concatenate(arrays: MxArray[], axis: number): MxArray;
  take(array: MxArray, indices: MxArray, axis: number): MxArray;
  add(a: MxArray, b: MxArray): MxArray;
  subtract(a: MxArray, b: MxArray): MxArray;
  multiply(a: MxArray, b: MxArray): MxArray;
  sigmoid(a: MxArray): MxArray;
  matmul(a: MxArray, b: MxArray): MxArray;
  quantizedMatmul(x: MxArray, w: MxArray, scales: MxArray, biases: MxArray, transpose: boolean, groupSize: number, bits: number): MxArray;
  dequantize(w: MxArray, scales: MxArray, biases: MxArray, groupSize: number, bits: number): MxArray;
  readonly fast: {
    rmsNorm(x: MxArray, weight: MxArray, eps: number): MxArray;
    scaledDotProductAttention(q: MxArray, k: MxArray, v: MxArray, scale: number, mask?: MxArray): MxArray;
  };
}

/** Kept in step with package.json, whose version is exact. */
export const mlxVersion = "0.0.7";

const require = createRequire(import.meta.url);

/** @throws MinidError engine_unavailable with a one-line remedy. */
export function loadMlx(): MxCore {
  const availability = tryLoad();
  if (!availability.ok) throw new MinidError("engine_unavailable", availability.remedy);
  return availability.core;
}

/** Whether the mlx engine can run here, and if not, the one line that says what to do. */
export function mlxAvailability(): { readonly ok: true } | { readonly ok: false; readonly remedy: string } {
  const availability = tryLoad();
  return availability.ok ? { ok: true } : availability;
}

function tryLoad(): { readonly ok: true; readonly core: MxCore } | { readonly ok: false; readonly remedy: string } {
  try {
    return { ok: true, core: (require("@frost-beta/mlx") as { readonly core: MxCore }).core };
  } catch (thrown) {
    const [why] = (thrown instanceof Error ? thrown.message : String(thrown)).split("\n");
    return { ok: false, remedy: `the mlx engine does not load (${why}): ${remedy(why ?? "")}` };
  }
}

function remedy(why: string): string {
  if (/liblapack|libblas|libopenblas/.test(why)) return "install its libraries (Debian: apt-get install liblapack3 libopenblas0-pthread), or use engine onnx";
  return "fetch its library (node node_modules/@frost-beta/mlx/install.js), or use engine onnx";
}
