/** Finds a marker in a text that comes in pieces. */

/** Length of the longest end of `text` that begins `marker` without being all of it. */
export function partialMarker(text: string, marker: string): number {
  for (let length = Math.min(marker.length - 1, text.length); length > 0; length -= 1) {
    if (marker.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
