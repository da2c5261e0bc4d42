/**
 * One ONNX Runtime session and its ports. Every input and output is an OrtValue that the caller allocated, bound by index, so a
 * run copies nothing and costs one foreign call; a cache that is input and output at once is updated in place.
 */
import { invariant } from "../../../core/invariant.js";
import type { ModelBuilder } from "./model-builder.js";
import { addressOf } from "./native-memory.js";
import type { Handle, OrtApi } from "./ort-api.js";

/**
 * How long an idle thread of the pool spins before it sleeps: long enough for the gaps between operators. On a machine of its own 50 to
 * 5000 are the same; where another process wants the cores, 500 made the median step four to seven times slower than 50.
 */
const spinMicroseconds = 50;

export interface SessionSettings {
  readonly threads: number;
  readonly prepacked: Handle;
  /** The folder of the stub file that declared initializers name. */
  readonly stubFolder: string;
}

interface Ports {
  readonly indexOf: ReadonlyMap<string, number>;
  readonly names: BigUint64Array;
  readonly values: BigUint64Array;
  /** Referenced here so that the C strings that `names` points to live. */
  readonly strings: readonly Buffer[];
}

export class OrtSession {
  readonly #api: OrtApi;
  readonly #session: Handle;
  readonly #inputs: Ports;
  readonly #outputs: Ports;

  /** @param initializers the OrtValue of every initializer that the graph declares. */
  constructor(api: OrtApi, graph: ModelBuilder, initializers: ReadonlyMap<string, Handle>, settings: SessionSettings) {
    this.#api = api;
    this.#session = api.createSession(graph.encode(), {
      threads: settings.threads,
      initializers,
      prepacked: settings.prepacked,
      entries: {
        "session.model_external_initializers_file_folder_path": settings.stubFolder,
        "session.intra_op.spin_duration_us": String(spinMicroseconds),
      },
    });
    this.#inputs = ports(graph.inputs);
    this.#outputs = ports(graph.outputs);
  }

  input(name: string): number { return indexIn(this.#inputs, name); }
  output(name: string): number { return indexIn(this.#outputs, name); }
  bindInput(index: number, value: Handle): void { this.#inputs.values[index] = value; }
  bindOutput(index: number, value: Handle): void { this.#outputs.values[index] = value; }

  /** @throws MinidError engine_failed */
  run(): void {
    this.#api.run(this.#session, this.#inputs.names, this.#inputs.values, this.#outputs.names, this.#outputs.values);
  }

  dispose(): void { this.#api.release("session", this.#session); }
}

function ports(declared: readonly { readonly name: string }[]): Ports {
  const strings = declared.map(({ name }) => Buffer.from(`${name}\0`));
  return {
    indexOf: new Map(declared.map(({ name }, index) => [name, index])),
    names: BigUint64Array.from(strings, addressOf),
    values: new BigUint64Array(declared.length),
    strings,
  };
}

function indexIn(of: Ports, name: string): number {
  const index = of.indexOf.get(name);
  invariant(index !== undefined, `the graph has a port ${name}`);
  return index;
}
