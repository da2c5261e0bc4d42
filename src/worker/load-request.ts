/** A Load as it arrives, checked: what stage, under which term, at which place of the ring. */
import { availableParallelism } from "node:os";
import { isAbsolute } from "node:path";
import { MinidError } from "../core/errors.js";
import type { LoadRequest } from "../core/worker-protocol.js";
import { wireEpoch } from "../core/worker-protocol.js";
import type { EngineName, Numerics } from "./engines/engine.js";
import type { Term } from "./fence.js";
import type { StageLoadOptions } from "./thread-protocol.js";

export interface Load {
  readonly term: Term;
  readonly modelId: string;
  readonly options: StageLoadOptions;
  /** Equal for equal stages. */
  readonly stageKey: string;
  readonly rank: number;
  readonly worldSize: number;
  readonly nextAddress: string;
  readonly nextName: string;
}

const worldSizeMax = 64;
const slotsMax = 4_096;
const contextLimit = 1 << 20;
const layersMax = 1_024;
const nodeIdLengthMax = 64;

const engines = new Set<string>(["onnx", "mlx"] satisfies EngineName[]);
const numericModes = new Set<string>(["fast", "precise", "exact"] satisfies Numerics[]);
const isEngine = (name: string): name is EngineName => engines.has(name);
const isNumerics = (name: string): name is Numerics => numericModes.has(name);

/** @throws MinidError invalid_value naming the field. */
export function parseLoadRequest(wire: LoadRequest): Load {
  const refuse = (field: keyof LoadRequest, why: string): never => { throw new MinidError("invalid_value", `Load refused: ${field} ${why}`, { param: field }); };
  const within = (field: keyof LoadRequest & ("rank" | "worldSize" | "layerFirst" | "layerEnd" | "slots" | "contextMax" | "batchMax" | "threads" | "planVersion"), low: number, high: number): number => {
    const value = wire[field];
    if (!Number.isInteger(value) || value < low || value > high) refuse(field, `is ${value}: it must lie between ${low} and ${high}`);
    return value;
  };
  const epoch = wireEpoch(wire.epoch);
  if (!Number.isSafeInteger(epoch.counter) || epoch.counter < 1 || epoch.nodeId.length > nodeIdLengthMax) refuse("epoch", `is ${epoch.counter}@${epoch.nodeId.slice(0, nodeIdLengthMax)}: it must be an announced epoch`);
  const { engine, numerics, modelDir, modelId, nextAddress, nextName } = wire;
  if (!isEngine(engine)) return refuse("engine", `is "${engine}": it must be onnx or mlx`);
  if (!isNumerics(numerics)) return refuse("numerics", `is "${numerics}": it must be fast, precise or exact`);
  if (!isAbsolute(modelDir)) refuse("modelDir", `is "${modelDir}": it must be an absolute path on this machine`);
  const worldSize = within("worldSize", 1, worldSizeMax);
  const rank = within("rank", 0, worldSize - 1);
  const layerFirst = within("layerFirst", 0, layersMax - 1);
  const layerEnd = within("layerEnd", layerFirst + 1, layersMax);
  if (worldSize > 1 && nextAddress === "") refuse("nextAddress", "is empty: a ring of more than one needs the next rank's address");
  const options: StageLoadOptions = {
    modelDir, layerFirst, layerEnd, ownsText: rank === 0, engine, numerics,
    threads: within("threads", 0, 512) || availableParallelism(),
    slots: within("slots", 1, slotsMax),
    contextMax: within("contextMax", 2, contextLimit),
    batchMax: within("batchMax", 1, slotsMax),
  };
  return { term: { epoch, planVersion: within("planVersion", 0, Number.MAX_SAFE_INTEGER) }, modelId, options, stageKey: JSON.stringify(options), rank, worldSize, nextAddress, nextName };
}
