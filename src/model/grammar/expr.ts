/**
 * What a grammar is made of: expressions over bytes. Text is UTF-8 throughout, because tokens cut characters anywhere.
 * A grammar is an expression; recursion goes through `reference`, whose target is found when it is needed.
 */

export type Expr =
  /** One byte of [low, high]. */
  | { readonly kind: "byte"; readonly low: number; readonly high: number }
  | { readonly kind: "sequence"; readonly items: readonly Expr[] }
  | { readonly kind: "choice"; readonly items: readonly Expr[] }
  /** `item` from `min` to `max` times; `max` may be Infinity. */
  | { readonly kind: "repeat"; readonly item: Expr; readonly min: number; readonly max: number }
  | { readonly kind: "reference"; readonly target: () => Expr };

const utf8 = new TextEncoder();

export const byte = (low: number, high = low): Expr => ({ kind: "byte", low, high });
export const sequence = (...items: readonly Expr[]): Expr => items.length === 1 ? items[0]! : { kind: "sequence", items };
/** Of nothing: what can never be matched. */
export const choice = (...items: readonly Expr[]): Expr => items.length === 1 ? items[0]! : { kind: "choice", items };
export const repeat = (item: Expr, min: number, max: number): Expr => ({ kind: "repeat", item, min, max });
export const optional = (item: Expr): Expr => repeat(item, 0, 1);
export const reference = (target: () => Expr): Expr => ({ kind: "reference", target });
export const literal = (text: string): Expr => ({ kind: "sequence", items: Array.from(utf8.encode(text), (value) => byte(value)) });
export const empty: Expr = sequence();

/**
 * All text up to and including `marker`, at its first occurrence: Knuth-Morris-Pratt's automaton, one expression a state.
 * @param marker ASCII
 */
export function until(marker: string): Expr {
  const target = (matched: number, value: number): number => {
    const text = marker.slice(0, matched) + String.fromCharCode(value);
    for (let length = Math.min(text.length, marker.length); length > 0; length -= 1) if (text.endsWith(marker.slice(0, length))) return length;
    return 0;
  };
  const states: Expr[] = [];
  for (let matched = 0; matched < marker.length; matched += 1) {
    const arms: Expr[] = [];
    for (let low = 0; low < 256;) {
      const to = target(matched, low);
      let high = low;
      while (high < 255 && target(matched, high + 1) === to) high += 1;
      arms.push(to === marker.length ? byte(low, high) : sequence(byte(low, high), reference(() => states[to]!)));
      low = high + 1;
    }
    states.push(choice(...arms));
  }
  return states[0] ?? empty;
}
