/** What a stage costs on a machine, in bytes and milliseconds. Estimates of one decode step: streaming the weights is what takes time. */
import type { Device, ModelShape, PlannerOptions } from "./plan.js";

/** Used only while nothing at all was measured; then only the ratio between machines matters. */
const BYTES_PER_SECOND_PER_CORE = 4e9;

/** A machine with the numbers that cutting needs. */
export interface Stager {
  readonly device: Device;
  /** For weights and cache, margin taken off. */
  readonly usableBytes: number;
  readonly msPerLayer: number;
  /** Embedding and head, if this machine is rank 0; else 0. */
  readonly textBytes: number;
  readonly textMs: number;
}

export function textBytes(model: ModelShape): number {
  return model.tied ? Math.max(model.embedBytes, model.headBytes) : model.embedBytes + model.headBytes;
}

/** @param devices rank 0 first. */
export function stagers(model: ModelShape, devices: readonly Device[], options: PlannerOptions): readonly Stager[] {
  const perCore = ratePerCore(devices);
  return devices.map((device, index) => {
    const rate = device.weightBytesPerSecond ?? Math.max(1, device.cores) * perCore;
    return {
      device,
      usableBytes: device.budgetBytes * (1 - options.memoryMargin),
      msPerLayer: (model.layerBytes / rate) * 1_000,
      textBytes: index === 0 ? textBytes(model) : 0,
      textMs: index === 0 ? (model.headBytes / rate) * 1_000 : 0,
    };
  });
}

/** Layers that fit beside the text and a cache of `kvTokens` tokens. */
export function layersMax(stager: Stager, model: ModelShape, kvTokens: number): number {
  const perLayer = model.layerBytes + model.kvBytesPerTokenLayer * kvTokens;
  return Math.max(0, Math.min(model.layerCount, Math.floor((stager.usableBytes - stager.textBytes) / perLayer)));
}

export const stageMs = (stager: Stager, layers: number): number => layers * stager.msPerLayer + stager.textMs;

/** Where some machines were measured, the others are guessed from those by their cores. */
function ratePerCore(devices: readonly Device[]): number {
  const measured = devices.flatMap(({ weightBytesPerSecond: rate, cores }) => (rate === undefined ? [] : [rate / Math.max(1, cores)])).sort((a, b) => a - b);
  return measured[Math.floor(measured.length / 2)] ?? BYTES_PER_SECOND_PER_CORE;
}
