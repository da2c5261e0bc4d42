/**
 * Regular expressions (ECMA-262's syntax) as grammar expressions: what is regular, and nothing that looks around or back.
 * The caller says how a character is written, because inside JSON some are escaped.
 */
import { type CharSet, anything, chars, complement, lastCodePoint, union } from "./char-set.js";
import { type Expr, choice, empty, repeat, sequence } from "./expr.js";

/** Bounds what a pattern can unfold to. */
const repeatMax = 10_000;
const nestingMax = 64;

export class UnsupportedRegex extends Error {
  override readonly name = "UnsupportedRegex";
}

const digits: CharSet = [[0x30, 0x39]];
const word = union(digits, [[0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]);
const space = union(chars("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"), [[0x2000, 0x200a]]);
const lineEnds = chars("\n\r\u2028\u2029");
const classes: Readonly<Record<string, CharSet>> = { d: digits, D: complement(digits), w: word, W: complement(word), s: space, S: complement(space) };
const controls: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", f: "\f", v: "\v", "0": "\0" };

/**
 * @param encode one character of a set, as it is written
 * @param search true: the pattern may match anywhere in the text unless it is anchored (JSON Schema's `pattern`); false: it is the whole text
 * @throws UnsupportedRegex
 */
export function regexExpr(pattern: string, encode: (set: CharSet) => Expr, search: boolean): Expr {
  return new RegexParser(pattern, encode, search).parse();
}

class RegexParser {
  readonly #characters: readonly string[];
  readonly #encode: (set: CharSet) => Expr;
  readonly #around: Expr;
  #at = 0;
  #depth = 0;

  constructor(pattern: string, encode: (set: CharSet) => Expr, search: boolean) {
    this.#characters = Array.from(pattern);
    this.#encode = encode;
    this.#around = search ? repeat(encode(anything), 0, Infinity) : empty;
  }

  parse(): Expr {
    const arms: Expr[] = [];
    do {
      const begins = this.#take("^");
      const body = this.#sequence();
      const ends = this.#take("$");
      arms.push(sequence(begins ? empty : this.#around, body, ends ? empty : this.#around));
    } while (this.#take("|"));
    if (this.#at < this.#characters.length) throw this.#refused(`'${this.#characters[this.#at]!}' is not expected`);
    return choice(...arms);
  }

  #alternatives(): Expr {
    const arms = [this.#sequence()];
    while (this.#take("|")) arms.push(this.#sequence());
    return choice(...arms);
  }

  #sequence(): Expr {
    const items: Expr[] = [];
    for (let next = this.#peek(); next !== undefined && next !== "|" && next !== ")" && next !== "$"; next = this.#peek()) items.push(this.#quantified());
    return sequence(...items);
  }

  #quantified(): Expr {
    const item = this.#atom();
    const [min, max] = this.#quantifier();
    // Lazy or not, the texts are the same.
    if (min !== 1 || max !== 1) this.#take("?");
    return min === 1 && max === 1 ? item : repeat(item, min, max);
  }

  #quantifier(): readonly [number, number] {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    const counts = /^\{(\d{1,6})(,(\d{1,6})?)?\}/u.exec(this.#characters.slice(this.#at, this.#at + 20).join(""));
    if (!counts) return [1, 1];
    this.#at += counts[0].length;
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : counts[3] === undefined ? Infinity : Number(counts[3]);
    if (min > max) throw this.#refused("the repetition's numbers are out of order");
    if (min > repeatMax || (max !== Infinity && max > repeatMax)) throw this.#refused(`more than ${repeatMax} repetitions`);
    return [min, max];
  }

  #atom(): Expr {
    const character = this.#characters[this.#at]!;
    this.#at += 1;
    switch (character) {
      case "(": return this.#group();
      case "[": return this.#encode(this.#class());
      case ".": return this.#encode(complement(lineEnds));
      case "\\": return this.#encode(this.#escape(false));
      case "*": case "+": case "?": case "{": throw this.#refused(`'${character}' has nothing to repeat`);
      case "^": throw this.#refused("'^' is only possible at the beginning");
      default: return this.#encode(chars(character));
    }
  }

  #group(): Expr {
    if (this.#take("?")) {
      if (this.#take("<")) {
        if (this.#peek() === "=" || this.#peek() === "!") throw this.#refused("looking behind is not possible");
        while (this.#peek() !== undefined && !this.#take(">")) this.#at += 1;
      } else if (!this.#take(":")) throw this.#refused("looking ahead and flags are not possible");
    }
    this.#depth += 1;
    if (this.#depth > nestingMax) throw this.#refused(`more than ${nestingMax} groups within each other`);
    const inner = this.#alternatives();
    this.#depth -= 1;
    if (this.#peek() === "$") throw this.#refused("'$' is only possible at the end");
    if (!this.#take(")")) throw this.#refused("a group is not closed");
    return inner;
  }

  #class(): CharSet {
    const negated = this.#take("^");
    const sets: CharSet[] = [];
    while (!this.#take("]")) {
      const low = this.#member();
      if (this.#peek() !== "-" || this.#characters[this.#at + 1] === "]") { sets.push(low); continue; }
      this.#at += 1;
      const high = this.#member();
      const [from, to] = [low[0]?.[0] ?? 0, high.at(-1)?.[1] ?? 0];
      if (low.length !== 1 || high.length !== 1 || low[0]![0] !== low[0]![1] || high[0]![0] !== high[0]![1] || from > to) throw this.#refused("a range in a class is not one");
      sets.push([[from, to]]);
    }
    const set = union(...sets);
    return negated ? complement(set) : set;
  }

  #member(): CharSet {
    const character = this.#peek();
    if (character === undefined) throw this.#refused("a class is not closed");
    this.#at += 1;
    return character === "\\" ? this.#escape(true) : chars(character);
  }

  #escape(inClass: boolean): CharSet {
    const character = this.#peek();
    if (character === undefined) throw this.#refused("it ends in a backslash");
    this.#at += 1;
    const named = classes[character];
    if (named) return named;
    if (character === "x" || character === "u") return [this.#hexadecimal(character)];
    if (inClass && character === "b") return chars("\b");
    const control = controls[character];
    if (control !== undefined) return chars(control);
    if (/[A-Za-z0-9]/u.test(character)) throw this.#refused(`'\\${character}' is not possible`);
    return chars(character);
  }

  #hexadecimal(kind: "x" | "u"): readonly [number, number] {
    const rest = this.#characters.slice(this.#at, this.#at + 10).join("");
    const match = (kind === "x" ? /^[0-9a-fA-F]{2}/u : /^[0-9a-fA-F]{4}|^\{[0-9a-fA-F]{1,6}\}/u).exec(rest);
    const value = match ? Number.parseInt(match[0].replace(/[{}]/gu, ""), 16) : Number.NaN;
    if (!match || !(value <= lastCodePoint)) throw this.#refused(`'\\${kind}' is not followed by a code point`);
    this.#at += match[0].length;
    return [value, value];
  }

  #peek(): string | undefined { return this.#characters[this.#at]; }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #refused(why: string): UnsupportedRegex {
    return new UnsupportedRegex(`at position ${this.#at}: ${why}`);
  }
}
