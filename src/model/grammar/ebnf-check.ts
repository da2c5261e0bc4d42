/**
 * Whether the rules of a grammar can be followed: every name is a rule, every rule that is used comes to an end, and none begins
 * with itself. The automaton descends into what comes first, and would never arrive (`list ::= list "," item`).
 *
 * Work is bounded: each round goes over the text once, and there are at most as many rounds as rules.
 */
import { EbnfError, type EbnfNode, type Rules } from "./ebnf-node.js";

/** @param text for the errors. @throws EbnfError */
export function checkRules(rules: Rules, text: string): void {
  for (const { body } of rules.values()) checkNames(body, rules, text);
  const ending = fixpoint(rules, canEnd);
  for (const [name, { at }] of rules) if (!ending.has(name)) throw new EbnfError(text, at, `the rule '${name}' never comes to an end: give it an alternative that is not itself`);
  const empty = fixpoint(rules, canBeEmpty);
  checkBeginnings(rules, empty, text);
}

function checkNames(node: EbnfNode, rules: Rules, text: string): void {
  switch (node.kind) {
    case "text": return;
    case "rule":
      if (!rules.has(node.name)) throw new EbnfError(text, node.at, `there is no rule '${node.name}'`);
      return;
    case "repeat": checkNames(node.item, rules, text); return;
    default: for (const item of node.items) checkNames(item, rules, text);
  }
}

type Property = (node: EbnfNode, known: ReadonlySet<string>) => boolean;

/** The smallest set of rules that have the property, given that the set has it. */
function fixpoint(rules: Rules, property: Property): ReadonlySet<string> {
  const known = new Set<string>();
  for (let before = -1; before !== known.size;) {
    before = known.size;
    for (const [name, { body }] of rules) if (!known.has(name) && property(body, known)) known.add(name);
  }
  return known;
}

function canEnd(node: EbnfNode, known: ReadonlySet<string>): boolean {
  switch (node.kind) {
    case "text": return true;
    case "rule": return known.has(node.name);
    case "sequence": return node.items.every((item) => canEnd(item, known));
    case "choice": return node.items.some((item) => canEnd(item, known));
    default: return node.min === 0 || canEnd(node.item, known);
  }
}

function canBeEmpty(node: EbnfNode, known: ReadonlySet<string>): boolean {
  switch (node.kind) {
    case "text": return node.expr.kind === "sequence" && node.expr.items.length === 0;
    case "rule": return known.has(node.name);
    case "sequence": return node.items.every((item) => canBeEmpty(item, known));
    case "choice": return node.items.some((item) => canBeEmpty(item, known));
    default: return node.min === 0 || canBeEmpty(node.item, known);
  }
}

type Use = Extract<EbnfNode, { readonly kind: "rule" }>;

/** A rule that begins with itself, through whatever others, is found where it is used. Depth first, without recursion: chains may be long. */
function checkBeginnings(rules: Rules, empty: ReadonlySet<string>, text: string): void {
  const done = new Set<string>();
  for (const start of rules.keys()) {
    if (done.has(start)) continue;
    const path = [{ name: start, uses: beginnings(rules.get(start)!.body, empty) }];
    const open = new Set([start]);
    for (let last = path.at(-1); last; last = path.at(-1)) {
      const use = last.uses.pop();
      if (!use) {
        path.pop();
        open.delete(last.name);
        done.add(last.name);
      } else if (open.has(use.name)) {
        throw new EbnfError(text, use.at, `the rule '${use.name}' begins with itself: write it as a repetition, or put the recursion at the end`);
      } else if (!done.has(use.name)) {
        open.add(use.name);
        path.push({ name: use.name, uses: beginnings(rules.get(use.name)!.body, empty) });
      }
    }
  }
}

/** The rules that may come first. */
function beginnings(node: EbnfNode, empty: ReadonlySet<string>): Use[] {
  switch (node.kind) {
    case "text": return [];
    case "rule": return [node];
    case "choice": return node.items.flatMap((item) => beginnings(item, empty));
    case "repeat": return node.max === 0 ? [] : beginnings(node.item, empty);
    default: {
      const first = node.items.findIndex((item) => !canBeEmpty(item, empty));
      return node.items.slice(0, first < 0 ? undefined : first + 1).flatMap((item) => beginnings(item, empty));
    }
  }
}
