/** What the main thread and the engine thread say to each other. Activations change hands by transfer, never by copy. */
import type { ErrorCode } from "../core/errors.js";
import type { CacheOp, Fault, Sampled, StepSpan } from "../core/worker-protocol.js";
import type { EngineName, Numerics } from "./engines/engine.js";
import type { StepOrigin } from "./stage-runner.js";

/** @property home where checksums go that the model's directory does not take. */
export interface ThreadData { readonly board: SharedArrayBuffer; readonly preload: EngineName | undefined; readonly home: string | undefined }

/** What decides whether two loads are the same stage: equal options, equal stage. */
export interface StageLoadOptions {
  readonly modelDir: string;
  readonly layerFirst: number;
  readonly layerEnd: number;
  readonly ownsText: boolean;
  readonly engine: EngineName;
  readonly numerics: Numerics;
  readonly threads: number;
  readonly slots: number;
  readonly contextMax: number;
  readonly batchMax: number;
}

export interface StageInfo {
  readonly hiddenSize: number;
  readonly contextMax: number;
  readonly engine: string;
  readonly replay: "prefill" | "decode";
}

export type Activations = Float32Array<ArrayBuffer>;

export type ThreadRequest =
  | { readonly kind: "load"; readonly loadNumber: number; readonly options: StageLoadOptions }
  | { readonly kind: "unload" }
  | { readonly kind: "adopt"; readonly rank: number }
  | { readonly kind: "whole"; readonly origin: StepOrigin; readonly ops: readonly CacheOp[]; readonly spans: readonly StepSpan[] }
  | { readonly kind: "beginRing"; readonly origin: StepOrigin; readonly key: number; readonly ops: readonly CacheOp[]; readonly spans: readonly StepSpan[] }
  | { readonly kind: "finishRing"; readonly key: number; readonly hidden: Activations; readonly faults: readonly Fault[] }
  | { readonly kind: "forget"; readonly key: number }
  | { readonly kind: "pass"; readonly origin: StepOrigin; readonly ops: readonly CacheOp[]; readonly spans: readonly StepSpan[]; readonly hidden: Activations; readonly last: boolean };

/** `id` pairs request and reply; requests are executed in the order they are sent. */
export interface ThreadRequestMessage { readonly id: number; readonly request: ThreadRequest }

export interface ThreadResults {
  readonly load: StageInfo;
  readonly unload: undefined;
  readonly adopt: undefined;
  readonly whole: { readonly sampled: readonly Sampled[]; readonly computeMs: number; readonly held: readonly number[] | undefined };
  readonly beginRing: { readonly hidden: Activations; readonly computeMs: number; readonly held: readonly number[] | undefined };
  readonly finishRing: { readonly sampled: readonly Sampled[]; readonly computeMs: number };
  readonly forget: undefined;
  readonly pass: { readonly hidden: Activations; readonly faults: readonly Fault[]; readonly computeMs: number; readonly held: readonly number[] | undefined };
}
export type ThreadResult = ThreadResults[keyof ThreadResults];

export type ThreadReply =
  | { readonly id: number; readonly result: ThreadResult }
  | { readonly id: number; readonly errorCode: ErrorCode; readonly error: string };
