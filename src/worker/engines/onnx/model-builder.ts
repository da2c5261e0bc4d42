/**
 * Writes an ONNX model in memory. Weights are not in it: an initializer is only declared (name, type, shape) and its
 * data handed to the session as an OrtValue, so a model is some hundred kilobytes whatever the checkpoint's size.
 * Knows the file format and nothing of transformers.
 */
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { invariant } from "../../../core/invariant.js";
import { ElementType, type ElementTypeName, elementBytes } from "./ort-api.js";

const irVersion = 10;
const onnxOpset = 21;
const contribDomain = "com.microsoft";
const externalData = 1;
/** AttributeProto.AttributeType */
const attributeType = { float: 1, int: 2, ints: 7 } as const;

/** Integers are INT attributes, `{ float }` FLOAT ones, arrays INTS. */
export type Attributes = Readonly<Record<string, number | { readonly float: number } | readonly number[]>>;
/** A dimension by size, or by name where it varies from run to run. */
export type Dimension = number | string;

/** The file that declared initializers pretend to lie in; it must exist and be as long as the largest, and is never read. */
export interface InitializerStub { readonly location: string }

interface Port { readonly name: string; readonly type: ElementTypeName; readonly dims: readonly Dimension[] }

export class ModelBuilder {
  readonly #nodes: object[] = [];
  readonly #initializers: object[] = [];
  readonly #declared = new Set<string>();
  readonly #inputs: Port[] = [];
  readonly #outputs: Port[] = [];
  readonly #stub: InitializerStub;
  #names = 0;

  constructor(stub: InitializerStub) { this.#stub = stub; }

  /** The initializers that a session of this model must be given. */
  get declared(): ReadonlySet<string> { return this.#declared; }
  get inputs(): readonly Port[] { return this.#inputs; }
  get outputs(): readonly Port[] { return this.#outputs; }

  input(name: string, type: ElementTypeName, dims: readonly Dimension[]): string {
    this.#inputs.push({ name, type, dims });
    return name;
  }

  output(name: string, type: ElementTypeName, dims: readonly Dimension[]): void {
    this.#outputs.push({ name, type, dims });
  }

  /** Names a tensor whose data the session is given; declaring it twice is the same tensor. */
  initializer(name: string, type: ElementTypeName, shape: readonly number[]): string {
    if (this.#declared.has(name)) return name;
    this.#declared.add(name);
    const length = shape.reduce((product, dim) => product * dim, elementBytes[type]);
    const external = [["location", this.#stub.location], ["offset", "0"], ["length", String(length)]];
    this.#initializers.push({ name, dims: shape, dataType: ElementType[type], dataLocation: externalData, externalData: external.map(([key, value]) => ({ key, value })) });
    return name;
  }

  /** A small tensor inside the model: shapes, axes, scalars. */
  constant(type: "float32" | "int64", shape: readonly number[], values: readonly number[]): string {
    const name = this.#fresh("const");
    const array = type === "float32" ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
    this.#initializers.push({ name, dims: shape, dataType: ElementType[type], rawData: new Uint8Array(array.buffer) });
    return name;
  }

  /** A node of one output. An empty input name leaves an optional input out. */
  node(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    const [output] = this.nodes(op, inputs, 1, attributes);
    invariant(output !== undefined, "a node has an output");
    return output;
  }

  /** A node of several outputs, or with outputs of given names (an empty name leaves one out). @returns their names. */
  nodes(op: string, inputs: readonly string[], outputs: number | readonly string[], attributes: Attributes = {}, contrib = false): readonly string[] {
    const names = typeof outputs === "number" ? Array.from({ length: outputs }, () => this.#fresh(op)) : outputs;
    const attribute = Object.entries(attributes).map(([name, value]) => {
      if (typeof value === "number") return { name, type: attributeType.int, i: value };
      return "float" in value ? { name, type: attributeType.float, f: value.float } : { name, type: attributeType.ints, ints: value };
    });
    this.#nodes.push({ name: this.#fresh("node"), opType: op, input: inputs, output: names, attribute, ...(contrib && { domain: contribDomain }) });
    return names;
  }

  /** A node of ONNX Runtime's own operator set. */
  contrib(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    const [output] = this.nodes(op, inputs, 1, attributes, true);
    invariant(output !== undefined, "a node has an output");
    return output;
  }

  encode(): Uint8Array {
    const model = {
      irVersion,
      producerName: "minid",
      opsetImport: [{ domain: "", version: onnxOpset }, { domain: contribDomain, version: 1 }],
      graph: { name: "stage", node: this.#nodes, initializer: this.#initializers, input: this.#inputs.map(portProto), output: this.#outputs.map(portProto) },
    };
    return modelType.encode(model).finish();
  }

  #fresh(what: string): string {
    this.#names += 1;
    return `${what}_${this.#names}`;
  }
}

function portProto(port: Port): object {
  const dim = port.dims.map((size) => typeof size === "number" ? { dimValue: size } : { dimParam: size });
  return { name: port.name, type: { tensorType: { elemType: ElementType[port.type], shape: { dim } } } };
}

/** Messages are plain objects of this shape; int64 fields are numbers or BigInts below 2^53. */
const modelType = protobuf.loadSync(fileURLToPath(new URL("../../../../proto/onnx.proto", import.meta.url))).lookupType("onnx.ModelProto");
