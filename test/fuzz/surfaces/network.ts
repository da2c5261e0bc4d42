/** Surfaces behind real sockets. */
import type { Surface } from "../surface.js";
export const networkSurfaces: readonly Surface[] = [];
