/** Planning in words, for people: why a model does not fit, and what changed. */
import { layersMax, stagers, textBytes } from "./cost.js";
import type { Device, ModelShape, PlannerOptions, Ring } from "./plan.js";

export function bytesText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return `${Math.max(0, bytes / 1e6).toFixed(0)} MB`;
}

export const namesText = (devices: readonly { readonly deviceId: string }[]): string =>
  devices.length <= 1 ? (devices[0]?.deviceId ?? "nobody") : `${devices.slice(0, -1).map((device) => device.deviceId).join(", ")} and ${devices.at(-1)?.deviceId}`;

/** @param devices rank 0 first. */
export function whyNot(model: ModelShape, devices: readonly Device[], options: PlannerOptions): string {
  const tokens = Math.min(options.contextMin, model.contextMax);
  const weights = textBytes(model) + model.layerCount * model.layerBytes;
  const cache = tokens * model.kvBytesPerTokenLayer * model.layerCount;
  const ring = stagers(model, devices, options);
  const usable = ring.reduce((sum, stager) => sum + stager.usableBytes, 0);
  const need = `${model.modelId} needs ${bytesText(weights + cache)}: ${bytesText(weights)} of weights and ${bytesText(cache)} of cache for ${tokens} tokens`;
  const margin = `${Math.round(options.memoryMargin * 100)} % kept free`;
  if (usable < weights + cache) return `${need}. ${namesText(devices)} ${devices.length > 1 ? "together offer" : "offers"} ${bytesText(usable)} (${margin}): ${bytesText(weights + cache - usable)} short.`;
  const leader = ring[0];
  if (leader && layersMax(leader, model, tokens) < 1) {
    return `${need}. ${leader.device.deviceId} is rank 0 and must hold embedding and head (${bytesText(textBytes(model))}) and at least one layer (${bytesText(model.layerBytes)}), but offers ${bytesText(leader.usableBytes)} (${margin}).`;
  }
  return `${need}. ${namesText(devices)} together offer ${bytesText(usable)} (${margin}), but layers of ${bytesText(model.layerBytes + tokens * model.kvBytesPerTokenLayer)} with their cache cannot be spread over them.`;
}

export function whyNew(ring: Ring, previous: Ring | undefined): string {
  if (!previous) return `first plan: ${namesText(ring.ranks)}`;
  const now = new Set(ring.ranks.map((rank) => rank.nodeId));
  const before = new Set(previous.ranks.map((rank) => rank.nodeId));
  const lost = previous.ranks.filter((rank) => !now.has(rank.nodeId));
  const gained = ring.ranks.filter((rank) => !before.has(rank.nodeId));
  const parts: string[] = [];
  if (lost.length > 0) parts.push(`without ${namesText(lost)}`);
  if (gained.length > 0) parts.push(`with ${namesText(gained)}`);
  if (parts.length === 0 && ring.ranks[0]?.nodeId !== previous.ranks[0]?.nodeId) parts.push(`${ring.ranks[0]?.deviceId} is rank 0`);
  return parts.length > 0 ? parts.join(", ") : "same machines, other shares";
}
