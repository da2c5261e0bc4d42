/**
 * Grammars as text, in the dialect that llama.cpp (GBNF), vLLM and xgrammar share, as grammar expressions:
 *
 *     # how an answer looks
 *     root   ::= answer ("," " "? answer){0,3}
 *     answer ::= "yes" | 'no' | [0-9]+ "%"
 *
 * Names, `"text"` and `'text'`, `[classes]` and `[^their complements]`, `.` for any character, groups, `|`, `*`, `+`, `?`, `{m}`,
 * `{m,}`, `{m,n}`, `#` comments. A rule ends where the next one begins, so it may go over lines. The text is what `root` writes.
 *
 * Reading costs time in proportion to the text; what may then be a rule is judged by `ebnf-check.ts`.
 */
import { type CharSet, anything, character, complement, lastCodePoint, union } from "./char-set.js";
import { checkRules } from "./ebnf-check.js";
import { EbnfError, type EbnfNode, type Rules } from "./ebnf-node.js";
import { type Expr, choice, literal, reference, repeat, sequence } from "./expr.js";

export const rulesMax = 1_024;
const repeatMax = 10_000;
const nestingMax = 64;
const rootName = "root";

/** @throws EbnfError that says where */
export function ebnfExpr(text: string): Expr {
  const rules = new EbnfReader(text).read();
  const root = rules.get(rootName);
  if (!root) throw new EbnfError(text, text.length, `there is no rule '${rootName}', which every grammar begins with`);
  checkRules(rules, text);
  const made = new Map<string, Expr>();
  const expression = (node: EbnfNode): Expr => {
    switch (node.kind) {
      case "text": return node.expr;
      case "rule": return reference(() => ruleOf(node.name));
      case "sequence": return sequence(...node.items.map(expression));
      case "choice": return choice(...node.items.map(expression));
      default: return repeat(expression(node.item), node.min, node.max);
    }
  };
  const ruleOf = (name: string): Expr => {
    const known = made.get(name);
    if (known) return known;
    const expr = expression(rules.get(name)!.body);
    made.set(name, expr);
    return expr;
  };
  return ruleOf(rootName);
}

const escapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

class EbnfReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) { this.#text = text; }

  read(): Rules {
    const rules = new Map<string, { readonly body: EbnfNode; readonly at: number }>();
    this.#skip();
    while (this.#at < this.#text.length) {
      const at = this.#at;
      const name = this.#name();
      if (name === undefined) throw this.#error("a rule is expected here: NAME ::= …");
      this.#skip();
      if (!this.#take("::=")) throw this.#error(`'::=' is expected after the name '${name}'`);
      if (rules.has(name)) throw new EbnfError(this.#text, at, `the rule '${name}' is there twice`);
      if (rules.size === rulesMax) throw new EbnfError(this.#text, at, `more than ${rulesMax} rules`);
      rules.set(name, { body: this.#alternatives(), at });
      this.#skip();
    }
    return rules;
  }

  #alternatives(): EbnfNode {
    const arms: EbnfNode[] = [this.#sequence()];
    while (this.#take("|")) arms.push(this.#sequence());
    return arms.length === 1 ? arms[0]! : { kind: "choice", items: arms };
  }

  #sequence(): EbnfNode {
    const items: EbnfNode[] = [];
    for (;;) {
      this.#skip();
      const next = this.#text[this.#at];
      if (next === undefined || next === "|" || next === ")" || this.#beginsRule()) break;
      items.push(this.#quantified());
    }
    return items.length === 1 ? items[0]! : { kind: "sequence", items };
  }

  #quantified(): EbnfNode {
    const item = this.#item();
    this.#skip();
    const range = this.#quantifier();
    return range ? { kind: "repeat", item, min: range[0], max: range[1] } : item;
  }

  #quantifier(): readonly [number, number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    if (this.#text[this.#at] !== "{") return undefined;
    const match = /\{\s*(\d{1,6})\s*(,\s*(\d{1,6})?\s*)?\}/uy;
    match.lastIndex = this.#at;
    const counts = match.exec(this.#text);
    if (!counts) throw this.#error("a repetition is {m}, {m,} or {m,n}");
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : counts[3] === undefined ? Infinity : Number(counts[3]);
    if (min > max) throw this.#error("the repetition's numbers are out of order");
    if (min > repeatMax || (max !== Infinity && max > repeatMax)) throw this.#error(`more than ${repeatMax} repetitions`);
    this.#at += counts[0].length;
    return [min, max];
  }

  #item(): EbnfNode {
    const at = this.#at;
    const next = this.#text[at];
    if (next === '"' || next === "'") return { kind: "text", expr: literal(this.#quoted(next)) };
    if (next === "[") return { kind: "text", expr: character(this.#class()) };
    if (next === ".") { this.#at += 1; return { kind: "text", expr: character(anything) }; }
    if (next === "(") return this.#group();
    const name = this.#name();
    if (name !== undefined) return { kind: "rule", name, at };
    if (next !== undefined && "*+?{".includes(next)) throw this.#error(`'${next}' has nothing to repeat`);
    throw this.#error(`'${String.fromCodePoint(this.#text.codePointAt(at)!)}' is not expected here`);
  }

  #group(): EbnfNode {
    const at = this.#at;
    this.#at += 1;
    this.#depth += 1;
    if (this.#depth > nestingMax) throw this.#error(`more than ${nestingMax} groups within each other`);
    const inner = this.#alternatives();
    this.#depth -= 1;
    if (!this.#take(")")) throw new EbnfError(this.#text, at, "this group is not closed");
    return inner;
  }

  #quoted(quote: string): string {
    const at = this.#at;
    this.#at += 1;
    let text = "";
    while (!this.#take(quote)) {
      if (this.#at >= this.#text.length || this.#text[this.#at] === "\n") throw new EbnfError(this.#text, at, "this text is not closed");
      text += String.fromCodePoint(this.#codePoint());
    }
    return text;
  }

  #class(): CharSet {
    const at = this.#at;
    this.#at += 1;
    const negated = this.#take("^");
    const sets: CharSet[] = [];
    while (!this.#take("]")) {
      if (this.#at >= this.#text.length) throw new EbnfError(this.#text, at, "this class is not closed");
      const low = this.#codePoint();
      if (this.#text[this.#at] !== "-" || this.#text[this.#at + 1] === "]") { sets.push([[low, low]]); continue; }
      this.#at += 1;
      const high = this.#codePoint();
      if (low > high) throw this.#error("the ends of this range are out of order");
      sets.push([[low, high]]);
    }
    const set = union(...sets);
    if (set.length === 0 && !negated) throw new EbnfError(this.#text, at, "a class without characters");
    return negated ? complement(set) : set;
  }

  /** One character, escaped or not. */
  #codePoint(): number {
    const value = this.#text.codePointAt(this.#at)!;
    if (value >= 0xd800 && value <= 0xdfff) throw this.#error("half of a UTF-16 surrogate pair");
    if (value !== 0x5c) { this.#at += value > 0xffff ? 2 : 1; return value; }
    const kind = this.#text[this.#at + 1] ?? "";
    const digits = { x: 2, u: 4, U: 8 }[kind];
    if (digits !== undefined) {
      const hexadecimal = this.#text.slice(this.#at + 2, this.#at + 2 + digits);
      const code = /^[0-9a-fA-F]+$/u.test(hexadecimal) && hexadecimal.length === digits ? Number.parseInt(hexadecimal, 16) : Number.NaN;
      if (!(code <= lastCodePoint) || (code >= 0xd800 && code <= 0xdfff)) throw this.#error(`'\\${kind}' is followed by ${digits} hexadecimal digits of a character`);
      this.#at += 2 + digits;
      return code;
    }
    const control = escapes[kind];
    if (control === undefined && (kind === "" || /[A-Za-z0-9\s]/u.test(kind))) throw this.#error(`'\\${kind}' is not possible`);
    this.#at += 2;
    return (control ?? kind).codePointAt(0)!;
  }

  /** Whether `NAME ::=` comes next: the end of the rule before. */
  #beginsRule(): boolean {
    const match = /[A-Za-z_][\w-]*\s*::=/uy;
    match.lastIndex = this.#at;
    return match.test(this.#text);
  }

  #name(): string | undefined {
    const match = /[A-Za-z_][\w-]*/uy;
    match.lastIndex = this.#at;
    const found = match.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  /** White space and comments. */
  #skip(): void {
    const match = /(?:\s+|#[^\n]*)*/uy;
    match.lastIndex = this.#at;
    this.#at += match.exec(this.#text)![0].length;
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #error(why: string): EbnfError { return new EbnfError(this.#text, this.#at, why); }
}
