/** Sets of Unicode code points, and the byte expressions of their characters. A set is ascending, without overlaps, ends included. */
import { type Expr, byte, choice, sequence } from "./expr.js";

export type CharSet = readonly (readonly [low: number, high: number])[];

export const lastCodePoint = 0x10ffff;
export const anything: CharSet = [[0, lastCodePoint]];
const surrogates: CharSet = [[0xd800, 0xdfff]];

export const chars = (text: string): CharSet => union(Array.from(text, (character) => [character.codePointAt(0)!, character.codePointAt(0)!] as const));

export function union(...sets: readonly CharSet[]): CharSet {
  const sorted = sets.flat().sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = merged.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

export function complement(set: CharSet): CharSet {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [low, high] of set) {
    if (low > next) gaps.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= lastCodePoint) gaps.push([next, lastCodePoint]);
  return gaps;
}

export const intersect = (a: CharSet, b: CharSet): CharSet => complement(union(complement(a), complement(b)));
export const without = (set: CharSet, taken: CharSet): CharSet => intersect(set, complement(taken));
export const has = (set: CharSet, codePoint: number): boolean => set.some(([low, high]) => codePoint >= low && codePoint <= high);

/** One character of the set, in UTF-8. Surrogates are no characters. */
export function character(set: CharSet): Expr {
  return choice(...without(set, surrogates).flatMap(([low, high]) => utf8Ranges(low, high)));
}

/** Last code point of each encoded length. */
const lengthEnds = [0x7f, 0x7ff, 0xffff, lastCodePoint];

/** Splits a range so that each part is a sequence of independent byte ranges (Russ Cox, utf8ranges). */
function utf8Ranges(low: number, high: number): Expr[] {
  for (const end of lengthEnds) if (low <= end && high > end) return [...utf8Ranges(low, end), ...utf8Ranges(end + 1, high)];
  if (high <= 0x7f) return [byte(low, high)];
  const first = encode(low);
  const last = encode(high);
  for (let tail = 1; tail < first.length; tail += 1) {
    const mask = 2 ** (6 * tail) - 1;
    if (Math.floor(low / (mask + 1)) === Math.floor(high / (mask + 1))) continue;
    if (low % (mask + 1) !== 0) return [...utf8Ranges(low, low - (low % (mask + 1)) + mask), ...utf8Ranges(low - (low % (mask + 1)) + mask + 1, high)];
    if (high % (mask + 1) !== mask) return [...utf8Ranges(low, high - (high % (mask + 1)) - 1), ...utf8Ranges(high - (high % (mask + 1)), high)];
  }
  return [sequence(...first.map((value, index) => byte(value, last[index])))];
}

const encode = (codePoint: number): number[] => [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
