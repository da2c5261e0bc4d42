/**
 * In which order machines form the ring. Whoever held a stage keeps its place, so that few layers move; newcomers come last.
 * Neighbours must hear each other, both ways, because a stream between them needs both; where links are broken, an order is sought that
 * avoids them, leaving out as few machines as possible.
 */
import type { NodeId } from "../../core/ids.js";
import type { Device } from "./plan.js";

/** Orders tried for one set of machines before it is given up as unringable; 8! would be 40,320. */
const TRIES_MAX = 5_000;

export interface Order {
  /** Rank 0 first. */
  readonly devices: readonly Device[];
  /** Could not be placed because of broken links. */
  readonly leftOut: readonly Device[];
}

/** @param devices `devices[0]` is rank 0. @param previous node ids in their ring order before. */
export function orderRing(devices: readonly Device[], previous: readonly NodeId[]): Order {
  const [leader, ...others] = devices;
  if (!leader) return { devices: [], leftOut: [] };
  const place = (device: Device) => { const index = previous.indexOf(device.nodeId); return index < 0 ? Infinity : index; };
  others.sort((a, b) => place(a) - place(b) || (a.deviceId < b.deviceId ? -1 : a.deviceId > b.deviceId ? 1 : a.nodeId < b.nodeId ? -1 : 1));
  if (devices.every((device) => device.unheard.length === 0)) return { devices: [leader, ...others], leftOut: [] };

  for (let without = 0; without <= others.length; without += 1) {
    // Newcomers and the worst connected are left out first.
    const byDamage = others.toReversed().sort((a, b) => broken(b, devices) - broken(a, devices));
    for (const leftOut of subsets(byDamage, without)) {
      const ring = arrange(leader, others.filter((device) => !leftOut.includes(device)));
      if (ring) return { devices: ring, leftOut };
    }
  }
  return { devices: [leader], leftOut: others };
}

const linked = (a: Device, b: Device): boolean => !a.unheard.includes(b.nodeId) && !b.unheard.includes(a.nodeId);

const broken = (device: Device, all: readonly Device[]): number => all.reduce((count, other) => count + Number(!linked(device, other)), 0);

/** The first order in which all neighbours are linked, trying the given one first. */
function arrange(leader: Device, others: readonly Device[]): readonly Device[] | undefined {
  let tries = 0;
  const extend = (ring: readonly Device[], rest: readonly Device[]): readonly Device[] | undefined => {
    const last = ring.at(-1) ?? leader;
    if (rest.length === 0) return ring.length === 1 || linked(leader, last) ? ring : undefined;
    for (const next of rest) {
      tries += 1;
      if (tries > TRIES_MAX) return undefined;
      if (!linked(next, last)) continue;
      const found = extend([...ring, next], rest.filter((device) => device !== next));
      if (found) return found;
    }
    return undefined;
  };
  return extend([leader], others);
}

/** All subsets of `size`, those of the first elements first. */
function* subsets<T>(items: readonly T[], size: number, from = 0): Generator<readonly T[]> {
  if (size === 0) { yield []; return; }
  for (let index = from; index <= items.length - size; index += 1) {
    for (const rest of subsets(items, size - 1, index + 1)) yield [items[index] as T, ...rest];
  }
}
