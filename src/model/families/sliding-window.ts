/**
 * Sliding-window attention is not computed here. A window that can never be reached is full attention and is accepted;
 * one that would be active within the model's positions is refused, because ignoring it would change the answers.
 */
import { unsupported } from "../config.js";

export function refuseActiveWindow(window: number | null | undefined, maxPositions: number, file: string): void {
  if (window === null || window === undefined || window >= maxPositions) return;
  throw unsupported(file, `sliding_window ${window} is shorter than max_position_embeddings ${maxPositions}, and sliding-window attention is not supported`);
}
