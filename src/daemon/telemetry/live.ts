/** How the ring does now, in one record: rank 0's vitals, and the latencies of all front doors together. */
import type { DoorVitals, RingVitals } from "./vitals.js";
import type { TelemetryView } from "./telemetry.js";

export interface LiveStatus extends RingVitals {
  /** Means of the last minute over all front doors; null while there were none. */
  readonly first_token_ms: number | null;
  readonly inter_token_ms: number | null;
}

export function liveStatus(leader: string | undefined, devices: readonly { readonly node_id: string; readonly door: DoorVitals | null }[], telemetry: TelemetryView): LiveStatus | null {
  const ring = leader === undefined ? undefined : telemetry.vitalsOf(leader)?.ring;
  if (!ring) return null;
  const doors = devices.flatMap(({ door }) => (door && door.answers > 0 ? [door] : []));
  return { ...ring, first_token_ms: mean(doors, ({ first_token_ms }) => first_token_ms), inter_token_ms: mean(doors, ({ inter_token_ms }) => inter_token_ms) };
}

/** Weighted by answers; doors without the value do not count. */
function mean(doors: readonly DoorVitals[], value: (door: DoorVitals) => number | null): number | null {
  let sum = 0;
  let weight = 0;
  for (const door of doors) {
    const known = value(door);
    if (known === null) continue;
    sum += known * door.answers;
    weight += door.answers;
  }
  return weight > 0 ? Math.round((sum / weight) * 10) / 10 : null;
}
