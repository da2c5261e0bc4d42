/**
 * From a model and the machines to a ring: who holds which layers. A pure function; the same input gives the same plan anywhere.
 * Memory comes first, then balance, then moving as little as possible. Deliberately not here: who counts as healthy and when to plan
 * (`cluster/planning.ts`), terms and versions.
 */
import type { NodeId } from "../../core/ids.js";
import type { LayerRange } from "../../model/spec.js";
import { type Stager, layersMax, stageMs, stagers } from "./cost.js";
import { cutLayers } from "./cut.js";
import { orderRing } from "./order.js";
import type { Device, ModelShape, PlannerOptions, PlanRank, PlanResult, Ring } from "./plan.js";
import { whyNot } from "./words.js";

/** Which layers each machine holds in memory now. */
export type Held = ReadonlyMap<NodeId, LayerRange>;

/**
 * @param devices healthy machines; `devices[0]` is the leader's and becomes rank 0.
 * @param held layers and places are kept where that costs little.
 */
export function planRing(model: ModelShape, devices: readonly Device[], options: PlannerOptions, held: Held): PlanResult {
  if (devices.length === 0) return { fits: false, reason: "there is no healthy machine" };
  const able = withRoom(model, devices, options);
  const ring = options.use === "all" ? largestRing(model, able, options, held) : fastestRing(model, able, options, held);
  return ring ? { fits: true, ring } : { fits: false, reason: whyNot(model, orderRing(devices, []).devices, options) };
}

/** Machines too small for a single layer cannot help; rank 0 always stays, and decides whether there is a plan at all. */
function withRoom(model: ModelShape, devices: readonly Device[], options: PlannerOptions): readonly Device[] {
  const tokens = Math.min(options.contextMin, model.contextMax);
  return stagers(model, devices, options).filter((stager, rank) => rank === 0 || layersMax(stager, model, tokens) >= 1).map((stager) => stager.device);
}

/** Everybody; the slowest are left out only when there are more machines than layers. */
function largestRing(model: ModelShape, devices: readonly Device[], options: PlannerOptions, held: Held): Ring | undefined {
  const surplus = devices.length - model.layerCount;
  if (surplus <= 0) return ringOf(model, devices, options, held);
  const slowest = slowestFirst(model, devices, options).slice(0, surplus);
  return stay(model, devices, options, held, ringOf(model, devices.filter((device) => !slowest.includes(device)), options, held), slowestStageMs);
}

/** The machines with which one sequence's token takes least time. */
function fastestRing(model: ModelShape, devices: readonly Device[], options: PlannerOptions, held: Held): Ring | undefined {
  const slowest = slowestFirst(model, devices, options);
  let best: Ring | undefined;
  for (let without = Math.max(0, devices.length - model.layerCount); without <= slowest.length; without += 1) {
    const rest = devices.filter((device) => !slowest.slice(0, without).includes(device));
    const ring = ringOf(model, rest, options, held);
    if (ring && (!best || ring.stepMs < best.stepMs)) best = ring;
  }
  return stay(model, devices, options, held, best, (ring) => ring.stepMs);
}

const slowestStageMs = (ring: Ring): number => Math.max(...ring.ranks.map((rank) => rank.stepMs));

/** The machines that hold stages now go on, unless others are better by `gainMin` or more of them can take part. */
function stay(model: ModelShape, devices: readonly Device[], options: PlannerOptions, held: Held, best: Ring | undefined, cost: (ring: Ring) => number): Ring | undefined {
  const present = devices.filter((device, rank) => rank === 0 || held.has(device.nodeId));
  if (!best || held.size === 0 || present.length > model.layerCount || (options.use === "all" && present.length < best.ranks.length)) return best;
  const kept = ringOf(model, present, options, held);
  return kept && cost(kept) <= cost(best) / (1 - options.gainMin) ? kept : best;
}

/** Without rank 0. */
function slowestFirst(model: ModelShape, devices: readonly Device[], options: PlannerOptions): readonly Device[] {
  return stagers(model, devices, options).slice(1).sort((a, b) => b.msPerLayer - a.msPerLayer || (a.device.nodeId < b.device.nodeId ? 1 : -1)).map((stager) => stager.device);
}

/** A ring of these machines, or as many of them as broken links allow, with as much cache as memory allows; undefined when they cannot hold the model. */
function ringOf(model: ModelShape, devices: readonly Device[], options: PlannerOptions, held: Held): Ring | undefined {
  const places = [...held].sort(([, a], [, b]) => a.first - b.first).map(([id]) => id);
  const ring = stagers(model, orderRing(devices, places).devices, options);
  const context = Math.min(options.contextMax, model.contextMax);
  for (const kvTokens of cacheSizes(context, Math.min(options.contextMin, context), options.batchMax)) {
    const cut = cutLayers(model, ring, kvTokens, held, options.gainMin);
    if (cut) return describe(model, ring, cut, context, options);
  }
  return undefined;
}

/** Tokens of cache to try for, the most comfortable first: every sequence of a batch at full length, then fewer, then shorter ones. */
function cacheSizes(context: number, contextMin: number, batchMax: number): readonly number[] {
  const sizes: number[] = [];
  for (let tokens = context * batchMax; tokens > contextMin; tokens /= 2) sizes.push(Math.floor(tokens));
  return [...sizes, contextMin];
}

function describe(model: ModelShape, ring: readonly Stager[], cut: readonly LayerRange[], context: number, options: PlannerOptions): Ring {
  const shares = ring.map((stager, rank) => {
    const layers = cut[rank] as LayerRange;
    const count = layers.end - layers.first;
    const weightBytes = count * model.layerBytes + stager.textBytes;
    return { stager, rank, layers, count, weightBytes, kvTokens: Math.floor((stager.usableBytes - weightBytes) / (count * model.kvBytesPerTokenLayer)) };
  });
  const kvTokensMax = Math.min(context * options.slots, ...shares.map((share) => share.kvTokens));
  const ranks = shares.map(({ stager, rank, layers, count, weightBytes }): PlanRank => ({
    rank, nodeId: stager.device.nodeId, deviceId: stager.device.deviceId, layers, ownsText: rank === 0, workerAddresses: stager.device.workerAddresses,
    weightBytes, kvBytesMax: kvTokensMax * count * model.kvBytesPerTokenLayer, stepMs: stageMs(stager, count),
  }));
  return {
    ranks, slots: options.slots, contextMax: Math.min(context, kvTokensMax), batchMax: options.batchMax, kvTokensMax,
    stepMs: ranks.reduce((sum, rank) => sum + rank.stepMs, 0) + (ranks.length > 1 ? ranks.length * options.hopMs : 0),
  };
}

/** The same stages on the same machines at the same addresses: nothing for anybody to do. Estimates may differ. */
export function sameRing(a: Ring, b: Ring): boolean {
  return a.slots === b.slots && a.contextMax === b.contextMax && a.batchMax === b.batchMax && a.ranks.length === b.ranks.length
    && a.ranks.every((rank, index) => {
      const other = b.ranks[index];
      return other !== undefined && rank.nodeId === other.nodeId && rank.layers.first === other.layers.first && rank.layers.end === other.layers.end
        && rank.workerAddresses.length === other.workerAddresses.length && rank.workerAddresses.every((address, place) => address === other.workerAddresses[place]);
    });
}
