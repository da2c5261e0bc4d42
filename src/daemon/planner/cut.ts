/**
 * Where the layers are cut. First the best balance that memory allows: the slowest stage as fast as possible, because with enough
 * sequences in flight the slowest stage sets the pace. Then, within a tolerance of that, as few layers as possible change hands.
 */
import type { NodeId } from "../../core/ids.js";
import type { LayerRange } from "../../model/spec.js";
import { type Stager, layersMax, stageMs } from "./cost.js";
import type { ModelShape } from "./plan.js";

/** @returns each stager's layers, in order, covering the model exactly; undefined when memory does not allow it with `kvTokens` tokens of cache. */
export function cutLayers(model: ModelShape, ring: readonly Stager[], kvTokens: number, held: ReadonlyMap<NodeId, LayerRange>, tolerance: number): readonly LayerRange[] | undefined {
  const caps = ring.map((stager) => layersMax(stager, model, kvTokens));
  const counts = balance(model.layerCount, ring, caps);
  if (!counts) return undefined;
  const boundMs = Math.max(...ring.map((stager, index) => stageMs(stager, counts[index] as number))) * (1 + tolerance);
  return keepMost(model.layerCount, ring, caps, boundMs, held);
}

/** Layer by layer to whoever would still be fastest with it: optimal for the slowest stage. Everybody gets at least one. */
function balance(layerCount: number, ring: readonly Stager[], caps: readonly number[]): readonly number[] | undefined {
  if (ring.length > layerCount || caps.some((cap) => cap < 1)) return undefined;
  const counts = ring.map(() => 1);
  for (let left = layerCount - ring.length; left > 0; left -= 1) {
    let best = -1;
    let bestMs = Infinity;
    for (const [index, stager] of ring.entries()) {
      const count = counts[index] as number;
      if (count >= (caps[index] as number)) continue;
      const ms = stageMs(stager, count + 1);
      if (ms < bestMs) { best = index; bestMs = ms; }
    }
    if (best < 0) return undefined;
    counts[best] = (counts[best] as number) + 1;
  }
  return counts;
}

/**
 * Dynamic program over (rank, layers placed so far): among all cuts whose stages stay within `boundMs`, the one that keeps most layers
 * where they are; among those, the most even one.
 */
function keepMost(layerCount: number, ring: readonly Stager[], caps: readonly number[], boundMs: number, held: ReadonlyMap<NodeId, LayerRange>): readonly LayerRange[] {
  interface Best { readonly kept: number; readonly squaresMs: number; readonly ranges: readonly LayerRange[] }
  let best: (Best | undefined)[] = [{ kept: 0, squaresMs: 0, ranges: [] }];
  for (const [index, stager] of ring.entries()) {
    const before = held.get(stager.device.nodeId);
    const next: (Best | undefined)[] = [];
    for (const [first, so] of best.entries()) {
      if (!so) continue;
      const most = Math.min(caps[index] as number, layerCount - first - (ring.length - 1 - index));
      for (let count = 1; count <= most; count += 1) {
        const ms = stageMs(stager, count);
        if (ms > boundMs) break;
        const end = first + count;
        const kept = so.kept + (before ? Math.max(0, Math.min(end, before.end) - Math.max(first, before.first)) : 0);
        const squaresMs = so.squaresMs + ms * ms;
        const rival = next[end];
        if (!rival || kept > rival.kept || (kept === rival.kept && squaresMs < rival.squaresMs)) next[end] = { kept, squaresMs, ranges: [...so.ranges, { first, end }] };
      }
    }
    best = next;
  }
  // The balanced cut itself is within the bound, so there is always one.
  return best[layerCount]?.ranges ?? [];
}
