/**
 * The loops over a whole vocabulary that sampling needs, written to run in tens of microseconds on 50,000 to 150,000 logits.
 * Only additions, multiplications and comparisons in a fixed order: the same bits on every machine (`Math.exp` is not
 * specified that far).
 */

/** Weights below 2^-40 of the largest are zero: together, over any vocabulary, less than one draw in a million. */
const exponentMin = -40;
const fractions = 32;
/** 2^(i / 32) for i from -40 * 32 to 0, by correctly rounded square roots and products: `**` is not specified to the bit. */
const powers = Float64Array.from({ length: -exponentMin * fractions + 1 }, (_, i) => {
  const fraction = i % fractions;
  let power = 1;
  let root = 2;
  for (let bit = fractions / 2; bit >= 1; bit /= 2) {
    root = Math.sqrt(root);
    if (fraction & bit) power *= root;
  }
  return power * 2 ** (exponentMin + Math.floor(i / fractions));
});
const last = powers.length - 1;
const perUnit = fractions * Math.LOG2E;
const unit = Math.LN2 / fractions;

/** e^x for x <= 0, to a relative error of 1e-11; zero below 2^-40. */
export function expNegative(x: number): number {
  const scaled = x * perUnit;
  if (!(scaled > -last)) return 0;
  const nearest = Math.trunc(scaled - 0.5);
  const r = (scaled - nearest) * unit;
  return (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))))) * (powers[last + nearest] ?? 0);
}

const bitsOf = (values: Float32Array): Int32Array => new Int32Array(values.buffer, values.byteOffset, values.length);

/** The index of the largest value, the lowest one of equals; -1 when nothing is above -Infinity. Four lanes: twice as fast as one. */
export function indexOfLargest(values: Float32Array): number {
  let a = Number.NEGATIVE_INFINITY, b = a, c = a, d = a;
  const lanes = values.length & ~3;
  for (let i = 0; i < lanes; i += 4) {
    const va = values[i] ?? 0, vb = values[i + 1] ?? 0, vc = values[i + 2] ?? 0, vd = values[i + 3] ?? 0;
    if (va > a) a = va;
    if (vb > b) b = vb;
    if (vc > c) c = vc;
    if (vd > d) d = vd;
  }
  for (let i = lanes; i < values.length; i += 1) a = Math.max(a, values[i] ?? 0);
  const max = Math.max(a, b, c, d);
  return max === Number.NEGATIVE_INFINITY ? -1 : values.indexOf(max);
}

/** True when no value is NaN or infinite: a sum of float32 in double precision is finite exactly then. */
export function allFinite(values: Float32Array): boolean {
  let a = 0, b = 0, c = 0, d = 0;
  const lanes = values.length & ~3;
  for (let i = 0; i < lanes; i += 4) {
    a += values[i] ?? 0;
    b += values[i + 1] ?? 0;
    c += values[i + 2] ?? 0;
    d += values[i + 3] ?? 0;
  }
  for (let i = lanes; i < values.length; i += 1) a += values[i] ?? 0;
  return Number.isFinite(a) && Number.isFinite(b) && Number.isFinite(c) && Number.isFinite(d);
}

/** Where a ranking is cut: kept is what lies above `value`, and what equals it up to index `index`. */
export interface Cut { readonly value: number; readonly index: number }
export const keepAll: Cut = { value: -Number.MAX_VALUE, index: Number.POSITIVE_INFINITY };

export const blockSize = 256;

/**
 * Sums of e^((value - max) * scale) of what the cut keeps, over blocks of 256 values.
 * @param sums one for each block, written. @returns their total.
 */
export function weightSums(values: Float32Array, max: number, scale: number, cut: Cut, sums: Float64Array): number {
  let total = 0;
  for (let start = 0, block = 0; start < values.length; start += blockSize, block += 1) {
    const end = Math.min(values.length, start + blockSize);
    let sum = 0;
    for (let i = start; i < end; i += 1) {
      const value = values[i] ?? 0;
      if (value < cut.value || (value === cut.value && i > cut.index)) continue;
      sum += expNegative((value - max) * scale);
    }
    sums[block] = sum;
    total += sum;
  }
  return total;
}

/** The index at which the running sum of kept weights passes `target`; `sums` are those of `weightSums`. */
export function indexAtWeight(values: Float32Array, max: number, scale: number, cut: Cut, sums: Float64Array, target: number): number {
  let rest = target;
  let block = 0;
  while (block < sums.length - 1 && rest >= (sums[block] ?? 0)) { rest -= sums[block] ?? 0; block += 1; }
  // Rounding may leave a rest past the end: then the last kept value is meant, even if it lies before this block.
  let found = -1;
  for (let from = block * blockSize; found < 0; from -= blockSize) {
    for (let i = from; i < values.length; i += 1) {
      const value = values[i] ?? 0;
      if (value < cut.value || (value === cut.value && i > cut.index)) continue;
      const weight = expNegative((value - max) * scale);
      if (weight === 0) continue;
      found = i;
      rest -= weight;
      if (rest < 0) return found;
    }
  }
  return found;
}

const bucketsPerUnit = 16;
const bucketCount = Math.ceil(-exponentMin * Math.LN2 * bucketsPerUnit) + 1;

/**
 * The cut of the smallest set of best-ranked values whose weights reach `share` of the total. Sorts only the values around the
 * cut: everything is first counted into buckets by its distance from the maximum.
 * @param keys scratch, as long as `values`.
 */
export function nucleusCut(values: Float32Array, max: number, scale: number, share: number, keys: Float64Array): Cut {
  const buckets = new Float64Array(bucketCount);
  for (let i = 0; i < values.length; i += 1) {
    const x = (max - (values[i] ?? 0)) * scale;
    const weight = expNegative(-x);
    if (weight === 0) continue;
    const bucket = Math.trunc(x * bucketsPerUnit);
    buckets[bucket] = (buckets[bucket] ?? 0) + weight;
  }
  let goal = share * buckets.reduce((sum, weight) => sum + weight);
  let edge = 0;
  while (edge < bucketCount - 1 && (buckets[edge] ?? 0) < goal) { goal -= buckets[edge] ?? 0; edge += 1; }
  const bits = bitsOf(values);
  let count = 0;
  for (let i = 0; i < values.length; i += 1) {
    if (Math.trunc((max - (values[i] ?? 0)) * scale * bucketsPerUnit) === edge) { keys[count] = keyOf(bits[i] ?? 0, i); count += 1; }
  }
  return cutWithin(values, keys.subarray(0, count).sort(), max, scale, goal);
}

/** The cut at the first of the ranked keys at which their running weight reaches `goal`. */
export function cutWithin(values: Float32Array, ranked: Float64Array, max: number, scale: number, goal: number): Cut {
  let sum = 0;
  let cut = keepAll;
  for (const key of ranked) {
    const index = keyIndex(key);
    cut = { value: values[index] ?? 0, index };
    sum += expNegative((cut.value - max) * scale);
    if (sum >= goal) break;
  }
  return cut;
}

/**
 * A ranking key: an exact double, smaller for larger values and, among equals, smaller for lower indices. So a plain ascending
 * sort of keys ranks best first with neither a comparator nor a second array. The key holds the index: `keyIndex`.
 */
const indexSpan = 1 << 20;
export const vocabularyMax = indexSpan;
const keyOf = (bits: number, index: number): number => index - (bits ^ ((bits >> 31) & 0x7fff_ffff)) * indexSpan;
export const keyIndex = (key: number): number => key - Math.floor(key / indexSpan) * indexSpan;

/** The keys of the `count` largest values, best first. Values of -Infinity never count. For `count` far below the number of values. */
export function largestKeys(values: Float32Array, count: number): Float64Array {
  const bits = bitsOf(values);
  const heap = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  let floor = -Number.MAX_VALUE;
  let found = 0;
  for (let i = 0; i < values.length; i += 1) {
    if (!((values[i] ?? 0) >= floor)) continue;
    const key = keyOf(bits[i] ?? 0, i);
    if (key >= (heap[0] ?? 0)) continue;
    replaceWorst(heap, key);
    found += 1;
    if (found >= count) floor = values[keyIndex(heap[0] ?? 0)] ?? floor;
  }
  return heap.sort().subarray(0, Math.min(found, count));
}

/** `heap[0]` is the largest key: puts `key` in its place and restores the heap's order. */
function replaceWorst(heap: Float64Array, key: number): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && (heap[child + 1] ?? 0) > (heap[child] ?? 0)) child += 1;
    const larger = heap[child] ?? 0;
    if (larger <= key) break;
    heap[at] = larger;
    at = child;
  }
  heap[at] = key;
}
