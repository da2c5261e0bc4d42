/** Makes nonsense out of sense: bytes, texts and JSON values, changed a little or a lot. */
import { jsonValue, sample } from "fast-check";
import { Random } from "../chaos/random.js";

export const below = (random: Random, bound: number): number => Math.floor(random.next() * bound);

/** An independent seed for each case of each surface. */
export function caseRandom(seed: number, surface: string, index: number): Random {
  let hash = (seed ^ 0x9e3779b9) >>> 0;
  for (const code of Array.from(surface, (letter) => letter.codePointAt(0) ?? 0)) hash = Math.imul(hash ^ code, 0x01000193) >>> 0;
  const random = new Random((hash ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0);
  random.next();
  return random;
}

const interestingBytes = [0, 1, 0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0xc0, 0xe2, 0xed, 0xf4, 0xfe, 0xff];
const interestingNumbers = [0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 255, 256, 32_767, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 1e308, 5e-324, 0.5, 1e-9, -0];

export function number(random: Random): number {
  const value = random.pick(interestingNumbers);
  return random.chance(0.25) ? -value : random.chance(0.1) ? value + below(random, 3) - 1 : value;
}

export function bytes(random: Random, length: number): Buffer {
  const made = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) made[at] = below(random, 256);
  return made;
}

/** Flips, overwrites, removes, repeats, inserts, cuts; several at once now and then. */
export function mutateBytes(random: Random, original: Buffer): Buffer {
  let data = Buffer.from(original);
  for (let times = 1 + (random.chance(0.3) ? below(random, 8) : 0); times > 0; times -= 1) {
    const at = below(random, data.length + 1);
    const span = 1 + below(random, random.chance(0.9) ? 8 : 256);
    switch (below(random, 8)) {
      case 0: if (at < data.length) data[at] = data[at]! ^ (1 << below(random, 8)); break;
      case 1: if (at < data.length) data[at] = random.pick(interestingBytes); break;
      case 2: data = Buffer.concat([data.subarray(0, at), data.subarray(at + span)]); break;
      case 3: data = Buffer.concat([data.subarray(0, at), data.subarray(Math.max(0, at - span), at), data.subarray(at)]); break;
      case 4: data = Buffer.concat([data.subarray(0, at), bytes(random, span), data.subarray(at)]); break;
      case 5: data = data.subarray(0, at); break;
      case 6: data = Buffer.concat([data.subarray(0, at), Buffer.alloc(span, random.pick(interestingBytes)), data.subarray(at + span)]); break;
      default: if (data.length >= at + 4) data.writeUInt32LE(Math.trunc(Math.abs(number(random))) % 2 ** 32, at);
    }
    if (data.length > 1 << 20) return data.subarray(0, 1 << 20);
  }
  return data;
}

const fragments = ["", "\0", "\n", "\r\n\r\n", "%s", "{{", "}}", "../", "__proto__", "constructor", "toString", "\uD800", "\uDFFF", "🦊", "é", "\u202E", "null", "-1", "1e999", "<|im_end|>", "</tool_call>", "\"", "\\", "a".repeat(300)];

export function text(random: Random): string {
  return Array.from({ length: below(random, 4) }, () => (random.chance(0.5) ? random.pick(fragments) : bytes(random, below(random, 12)).toString(random.chance(0.5) ? "latin1" : "utf8"))).join("");
}

/** Text that stays text: mutated as UTF-16. */
export function mutateText(random: Random, original: string): string {
  const at = below(random, original.length + 1);
  switch (below(random, 6)) {
    case 0: return original.slice(0, at) + random.pick(fragments) + original.slice(at);
    case 1: return original.slice(0, at) + original.slice(at + 1 + below(random, 8));
    case 2: return original.slice(0, at);
    case 3: return original.slice(0, at) + original.slice(Math.max(0, at - 1 - below(random, 40)), at).repeat(1 + below(random, 6)) + original.slice(at);
    case 4: return mutateBytes(random, Buffer.from(original)).toString("utf8");
    default: return text(random) + original.slice(at);
  }
}

const poolSize = 64;
const pools = new Map<number, unknown[]>();

/** Any JSON value, by fast-check: from one of 256 pools, because making one alone takes longer than most cases. */
export function anyJson(random: Random): unknown {
  const seed = below(random, 256);
  let pool = pools.get(seed);
  if (!pool) pools.set(seed, pool = sample(jsonValue({ maxDepth: 3 }), { seed, numRuns: poolSize }));
  return pool[below(random, poolSize)];
}

/** A value of another kind, or of the same kind and out of bounds. */
export function strangeValue(random: Random): unknown {
  switch (below(random, 9)) {
    case 0: return null;
    case 1: return random.chance(0.5);
    case 2: case 3: return number(random);
    case 4: return text(random);
    case 5: return [];
    case 6: return {};
    case 7: return Array.from({ length: below(random, 40) }, () => random.pick([0, "", null, -1, {}]));
    default: return random.chance(0.3) ? anyJson(random) : "x".repeat(below(random, 2_000));
  }
}

type Json = Record<string, unknown> | unknown[];
const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null;

/** A deep copy with one thing changed: a value, a key, a missing or an extra field, a list's length. Goes deeper with each step. */
export function mutateJson(random: Random, value: unknown, depth = 0): unknown {
  if (!isJson(value) || depth > 12 || random.chance(0.04)) return strangeValue(random);
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = below(random, copy.length);
    switch (below(random, 6)) {
      case 0: copy.splice(at, 1); break;
      case 1: copy.splice(at, 0, copy.length > 0 && random.chance(0.5) ? copy[at] : strangeValue(random)); break;
      case 2: if (copy.length > 0 && copy.length < 200 && random.chance(0.2)) return Array.from({ length: 300 }, () => copy[at]); break;
      default: if (copy.length > 0) copy[at] = mutateJson(random, copy[at], depth + 1);
    }
    return copy;
  }
  const entries = Object.entries(value);
  const at = below(random, entries.length);
  switch (below(random, 9)) {
    case 0: entries.splice(at, 1); break;
    case 1: entries.push([random.chance(0.5) ? random.pick(["__proto__", "constructor", "toString", "", "x"]) : text(random), strangeValue(random)]); break;
    case 2: if (entries[at]) entries[at] = [mutateText(random, entries[at][0]), entries[at][1]]; break;
    default: if (entries[at]) entries[at] = [entries[at][0], mutateJson(random, entries[at][1], depth + 1)];
  }
  // As JSON.parse makes it: `__proto__` is a field like any other.
  const copy: Record<string, unknown> = {};
  for (const [key, item] of entries) Object.defineProperty(copy, key, { value: item, enumerable: true, configurable: true, writable: true });
  return copy;
}

/** Mutated several times over. */
export function mutatedJson(random: Random, value: unknown): unknown {
  let mutated = value;
  for (let times = 1 + (random.chance(0.4) ? below(random, 4) : 0); times > 0; times -= 1) mutated = mutateJson(random, mutated);
  return mutated;
}

/** As text: usually well-formed JSON, sometimes with its bytes damaged. */
export function mutatedJsonText(random: Random, value: unknown): string {
  const json = JSON.stringify(mutatedJson(random, value)) ?? "";
  return random.chance(0.3) ? mutateBytes(random, Buffer.from(json)).toString("utf8") : json;
}
