import { Random } from "../chaos/random.js";

/** A reproducible chance in [0, 1), as a function. */
export function chance(seed: number): () => number {
  const random = new Random(seed);
  return () => random.next();
}
