/** Numbers and states in people's words. Pure. */
import type { Device } from "./wire.js";

export function duration(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

export const ago = (ms: number): string => (ms < 5_000 ? "just now" : `${duration(ms)} ago`);

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let rest = value;
  while (rest >= 1_000 && unit < units.length - 1) { rest /= 1_000; unit += 1; }
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[unit] ?? ""}`;
}

export const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;

export const number = (value: number): string => (value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1));

export const layersText = (layers: Device["layers"]): string => (layers === null ? "no layers" : `layers ${layers[0]}–${layers[1] - 1}`);

export type Tone = "good" | "warn" | "bad" | "idle";

export const toneOf: Readonly<Record<Device["status"], Tone>> = {
  healthy: "good", loading: "warn", unhealthy: "bad", suspect: "warn", dead: "bad", left: "idle", draining: "warn", incompatible: "bad",
};

/** A mark beside each state's word, for those who do not see its colour. */
export const markOf: Readonly<Record<Tone, string>> = { good: "●", warn: "◐", bad: "✕", idle: "○" };
