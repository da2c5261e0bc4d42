/**
 * The few functions of ONNX Runtime's C API that a stage needs, called through koffi. The API is a struct of function
 * pointers that only ever grows at its end, so a function is its index (onnxruntime_c_api.h, API version 23; the numbers up to
 * ReleaseCustomOpDomain = 101 and ReleaseAvailableProviders = 126 are asserted in ONNX Runtime's own source).
 *
 * Every call that returns an OrtStatus is checked here: callers see values or MinidError engine_failed with ONNX Runtime's words.
 * Calls are synchronous: the engine lives on a thread that may block.
 */
import koffi from "koffi";
import { invariant } from "../../../core/invariant.js";
import { MinidError } from "../../../core/errors.js";
import { onnxruntimeLibraryPath, openLibrary } from "./library.js";
import { type Libc, openLibc } from "./native-memory.js";

/** A C type by its name, as koffi reads it. */
type CType = "void" | "void *" | "int" | "uint32_t" | "size_t" | "str";

const apiVersion = 23;
const cpuArenaAllocator = 1;
const defaultMemory = 0;
const errorsOnly = 3;
const allOptimizations = 99;

/** Index in OrtApi, argument types. Those of `status` return OrtStatus*, those of `release` nothing. */
const statusFunctions = {
  createEnv: [3, ["int", "str", "void *"]],
  createSessionOptions: [10, ["void *"]],
  run: [9, ["void *", "void *", "void *", "void *", "size_t", "void *", "size_t", "void *"]],
  setOptimizationLevel: [23, ["void *", "int"]],
  setIntraOpThreads: [24, ["void *", "int"]],
  createTensorWithData: [49, ["void *", "void *", "size_t", "void *", "size_t", "int", "void *"]],
  createCpuMemoryInfo: [69, ["int", "int", "void *"]],
  addSessionConfigEntry: [130, ["void *", "str", "str"]],
  addInitializer: [150, ["void *", "str", "void *"]],
  createPrepackedWeights: [166, ["void *"]],
  createSession: [169, ["void *", "void *", "size_t", "void *", "void *", "void *"]],
} as const satisfies Record<string, readonly [number, readonly CType[]]>;
const releaseFunctions = { status: 93, session: 95, value: 96, sessionOptions: 100, prepackedWeights: 167 } as const;
const getErrorMessageIndex = 2;

/** ONNXTensorElementDataType. */
export const ElementType = { float32: 1, uint8: 2, int32: 6, int64: 7, float16: 10, bfloat16: 16 } as const;
export type ElementTypeName = keyof typeof ElementType;
export const elementBytes: Record<ElementTypeName, number> = { float32: 4, uint8: 1, int32: 4, int64: 8, float16: 2, bfloat16: 2 };

/** An address owned by ONNX Runtime. */
export type Handle = bigint;
type StatusName = keyof typeof statusFunctions;
type ReleaseName = keyof typeof releaseFunctions;

export interface SessionConfig {
  readonly threads: number;
  readonly entries: Readonly<Record<string, string>>;
  readonly initializers: ReadonlyMap<string, Handle>;
  /** Where prepacked weights are kept and shared between sessions. */
  readonly prepacked: Handle;
}

export class OrtApi {
  readonly version: string;
  readonly libc: Libc;
  readonly #status = new Map<StatusName, (...args: unknown[]) => unknown>();
  readonly #release = new Map<ReleaseName, (handle: Handle) => void>();
  readonly #errorMessage: (status: Handle) => string;
  readonly #env: Handle;
  readonly #memoryInfo: Handle;
  /** Referenced so that the library is not unloaded. */
  readonly library: unknown;

  private constructor(libc: Libc) {
    this.libc = libc;
    // Read by the library when it first runs attention: without it, a chunk of 129 rows rounds differently from 128.
    libc.setEnvironment("ORT_GQA_DISABLE_FLASH_ATTENTION", "1");
    // The library reports its use to Microsoft and leaves a log in the temporary directory, unless it is told not to before it loads.
    libc.setEnvironment("ORT_DISABLE_TELEMETRY", "1");
    const library = openLibrary(onnxruntimeLibraryPath());
    this.library = library;
    const base: unknown = library.func("OrtGetApiBase", "void *", [])();
    invariant(typeof base === "bigint", "OrtGetApiBase returns a pointer");
    const [getApi, getVersion] = new BigUint64Array(koffi.view(base, 16));
    invariant(getApi !== undefined && getVersion !== undefined, "OrtApiBase has two entries");
    this.version = String(decodeFunction(getVersion, "str", [])());
    const api: unknown = decodeFunction(getApi, "void *", ["uint32_t"])(apiVersion);
    if (typeof api !== "bigint") throw new MinidError("engine_unavailable", `onnxruntime ${this.version} does not know API version ${apiVersion}: install onnxruntime-node 1.23 or later`);
    const table = new BigUint64Array(koffi.view(api, (statusFunctions.createSession[0] + 1) * 8));
    const at = (index: number): bigint => {
      const pointer = table[index];
      invariant(pointer !== undefined && pointer !== 0n, `OrtApi[${index}] is set`);
      return pointer;
    };
    this.#errorMessage = decodeFunction(at(getErrorMessageIndex), "str", ["void *"]) as (status: Handle) => string;
    for (const [name, [index, types]] of Object.entries(statusFunctions)) this.#status.set(name as StatusName, decodeFunction(at(index), "void *", types));
    for (const [name, index] of Object.entries(releaseFunctions)) this.#release.set(name as ReleaseName, decodeFunction(at(index), "void", ["void *"]));
    this.#env = this.#create("createEnv", errorsOnly, "minid");
    this.#memoryInfo = this.#create("createCpuMemoryInfo", cpuArenaAllocator, defaultMemory);
  }

  /** @throws MinidError engine_unavailable when the library is missing or does not load. */
  static open(): OrtApi { return new OrtApi(openLibc()); }

  /** A tensor over memory that the caller keeps alive until the handle is released. */
  tensor(address: bigint, type: ElementTypeName, shape: readonly number[]): Handle {
    const dims = BigInt64Array.from(shape, BigInt);
    const byteLength = shape.reduce((product, dim) => product * dim, elementBytes[type]);
    return this.#create("createTensorWithData", this.#memoryInfo, address, byteLength, dims, shape.length, ElementType[type]);
  }

  createPrepackedWeights(): Handle { return this.#create("createPrepackedWeights"); }

  createSession(model: Uint8Array, config: SessionConfig): Handle {
    const options = this.#create("createSessionOptions");
    try {
      this.#call("setOptimizationLevel", options, allOptimizations);
      this.#call("setIntraOpThreads", options, config.threads);
      for (const [key, value] of Object.entries(config.entries)) this.#call("addSessionConfigEntry", options, key, value);
      for (const [name, value] of config.initializers) this.#call("addInitializer", options, name, value);
      return this.#create("createSession", this.#env, model, model.byteLength, options, config.prepacked);
    } finally {
      this.release("sessionOptions", options);
    }
  }

  /**
   * Runs a session with every output already allocated. The arrays hold addresses: names of C strings, values of OrtValues.
   * @throws MinidError engine_failed
   */
  run(session: Handle, inputNames: BigUint64Array, inputs: BigUint64Array, outputNames: BigUint64Array, outputs: BigUint64Array): void {
    this.#call("run", session, null, inputNames, inputs, inputs.length, outputNames, outputs.length, outputs);
  }

  release(kind: ReleaseName, handle: Handle): void {
    const release = this.#release.get(kind);
    invariant(release, "every release function is bound");
    release(handle);
  }

  /** Calls a function whose last argument is the address to write a new handle to. */
  #create(name: StatusName, ...args: unknown[]): Handle {
    const out = new BigUint64Array(1);
    this.#call(name, ...args, out);
    const [handle] = out;
    invariant(handle, `${name} gives a handle`);
    return handle;
  }

  #call(name: StatusName, ...args: unknown[]): void {
    const status = this.#status.get(name)?.(...args);
    if (typeof status !== "bigint" || status === 0n) return;
    const message = this.#errorMessage(status);
    this.release("status", status);
    throw new MinidError("engine_failed", `onnxruntime ${this.version}, ${name}: ${message}`);
  }
}

function decodeFunction(pointer: bigint, result: CType, types: readonly CType[]): (...args: unknown[]) => unknown {
  return koffi.decode(pointer, koffi.proto(result, [...types])) as (...args: unknown[]) => unknown;
}
