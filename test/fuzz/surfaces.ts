/** Everything that is fuzzed, in the order of a full run. */
import type { Surface } from "./surface.js";
import { apiSurfaces } from "./surfaces/api.js";
import { clusterSurfaces } from "./surfaces/cluster.js";
import { modelSurfaces } from "./surfaces/model.js";
import { networkSurfaces } from "./surfaces/network.js";
import { templateSurfaces } from "./surfaces/templates.js";
import { workerSurfaces } from "./surfaces/worker.js";

export const surfaces: readonly Surface[] = [...clusterSurfaces, ...modelSurfaces, ...templateSurfaces, ...apiSurfaces, ...workerSurfaces, ...networkSurfaces];

export function surfaceNamed(name: string): Surface {
  const found = surfaces.find((surface) => surface.name === name);
  if (!found) throw new Error(`there is no surface ${name}; there are ${surfaces.map((surface) => surface.name).join(", ")}`);
  return found;
}
