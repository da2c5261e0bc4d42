/** Decimal numbers within bounds, as expressions over their digits. Exact: bounds are taken by their decimal digits, not as floats. */
import { type Expr, byte, choice, empty, literal, optional, repeat, sequence } from "./expr.js";

/** Digits of numbers without a bound: what a double holds exactly. */
const digitsMax = 15;

export interface Bounds {
  /** undefined: none. */
  readonly low: number | undefined;
  readonly high: number | undefined;
  readonly lowExclusive: boolean;
  readonly highExclusive: boolean;
}

const digit = (low = 0, high = 9): Expr => byte(0x30 + low, 0x30 + high);

/** @returns undefined when no integer is within the bounds. */
export function integerExpr(bounds: Bounds): Expr | undefined {
  return fixedPoint(bounds, 0);
}

/** Integers, and decimals with at least as many places as the bounds have. @returns undefined when there is none. */
export function numberExpr(bounds: Bounds): Expr | undefined {
  if (bounds.low === undefined && bounds.high === undefined) {
    const natural = choice(literal("0"), sequence(digit(1), repeat(digit(), 0, digitsMax - 1)));
    const exponent = sequence(choice(literal("e"), literal("E")), optional(choice(literal("+"), literal("-"))), repeat(digit(), 1, 2));
    return sequence(optional(literal("-")), natural, optional(sequence(literal("."), repeat(digit(), 1, digitsMax))), optional(exponent));
  }
  const places = Math.max(1, placesOf(bounds.low), placesOf(bounds.high)) + 1;
  const arms = Array.from({ length: places + 1 }, (_, count) => fixedPoint(bounds, count)).filter((arm) => arm !== undefined);
  return arms.length === 0 ? undefined : choice(...arms);
}

/** Numbers with exactly `places` decimals: integers k of which k / 10^places is within the bounds. */
function fixedPoint({ low, high, lowExclusive, highExclusive }: Bounds, places: number): Expr | undefined {
  const from = low === undefined ? undefined : scaled(low, places, "up", lowExclusive);
  const to = high === undefined ? undefined : scaled(high, places, "down", highExclusive);
  if (from !== undefined && to !== undefined && from > to) return undefined;
  const arms: Expr[] = [];
  if (to === undefined || to >= 0n) {
    const positive = naturals(from === undefined || from < 0n ? 0n : from, to, places);
    if (positive) arms.push(positive);
  }
  if (from === undefined || from < 0n) {
    const negative = naturals(to === undefined || to >= 0n ? 1n : -to, from === undefined ? undefined : -from, places);
    if (negative) arms.push(sequence(literal("-"), negative));
  }
  return arms.length === 0 ? undefined : choice(...arms);
}

/** k from `low` to `high`, not negative, written with a point before the last `places` digits. */
function naturals(low: bigint, high: bigint | undefined, places: number): Expr | undefined {
  const arms: Expr[] = [];
  const shortest = places + 1;
  const lowLength = Math.max(shortest, low.toString().length);
  const highLength = Math.max(shortest, high === undefined ? Math.max(digitsMax, lowLength) : high.toString().length);
  for (let length = lowLength; length <= highLength; length += 1) {
    // Leading zeros only before the point.
    const least = length === shortest ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    const from = low > least ? low : least;
    const to = high !== undefined && high < most ? high : most;
    if (from <= to) arms.push(between(from.toString().padStart(length, "0"), to.toString().padStart(length, "0"), places));
  }
  return arms.length === 0 ? undefined : choice(...arms);
}

/** Digit strings of one length, from `low` to `high`. */
function between(low: string, high: string, places: number): Expr {
  if (low === "") return empty;
  const point = places > 0 && low.length === places ? literal(".") : empty;
  const [first, last] = [Number(low[0]), Number(high[0])];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  const rest = (from: string, to: string) => between(from, to, places);
  const zeros = "0".repeat(lowRest.length);
  const nines = "9".repeat(lowRest.length);
  if (first === last) return sequence(point, digit(first, first), rest(lowRest, highRest));
  const whole = [first + (lowRest === zeros ? 0 : 1), last - (highRest === nines ? 0 : 1)] as const;
  const arms = [
    ...(lowRest === zeros ? [] : [sequence(digit(first, first), rest(lowRest, nines))]),
    ...(whole[0] <= whole[1] ? [sequence(digit(...whole), free(lowRest.length, places))] : []),
    ...(highRest === nines ? [] : [sequence(digit(last, last), rest(zeros, highRest))]),
  ];
  return sequence(point, choice(...arms));
}

/** Any `length` digits, with the point where it belongs. */
function free(length: number, places: number): Expr {
  if (places === 0 || length < places) return repeat(digit(), length, length);
  return sequence(repeat(digit(), length - places, length - places), literal("."), repeat(digit(), places, places));
}

/** The decimal digits of a double, as `digits * 10^-places`. */
function decimal(value: number): { readonly digits: bigint; readonly places: number } {
  const [, sign = "", whole = "0", fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/u.exec(String(value)) ?? [];
  const places = fraction.length - Number(exponent);
  const digits = BigInt(sign + whole + fraction);
  return places >= 0 ? { digits, places } : { digits: digits * 10n ** BigInt(-places), places: 0 };
}

const placesOf = (value: number | undefined): number => value === undefined ? 0 : Math.min(digitsMax, decimal(value).places);

/** value * 10^places, rounded into the bounds. */
function scaled(value: number, places: number, rounding: "up" | "down", exclusive: boolean): bigint {
  const { digits, places: own } = decimal(value);
  const shift = places - own;
  if (shift >= 0) {
    const exact = digits * 10n ** BigInt(shift);
    return exclusive ? exact + (rounding === "up" ? 1n : -1n) : exact;
  }
  const unit = 10n ** BigInt(-shift);
  const quotient = digits / unit;
  const remainder = digits % unit;
  if (remainder === 0n) return exclusive ? quotient + (rounding === "up" ? 1n : -1n) : quotient;
  // Division of big integers rounds towards zero.
  if (rounding === "up") return remainder > 0n ? quotient + 1n : quotient;
  return remainder < 0n ? quotient - 1n : quotient;
}
