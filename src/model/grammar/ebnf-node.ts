/** A grammar as it was read: rules of nodes, each of which knows where it stands. */
import type { Expr } from "./expr.js";

export type EbnfNode =
  /** Characters that are not of a rule. */
  | { readonly kind: "text"; readonly expr: Expr }
  | { readonly kind: "rule"; readonly name: string; readonly at: number }
  | { readonly kind: "sequence"; readonly items: readonly EbnfNode[] }
  | { readonly kind: "choice"; readonly items: readonly EbnfNode[] }
  | { readonly kind: "repeat"; readonly item: EbnfNode; readonly min: number; readonly max: number };

export type Rules = ReadonlyMap<string, { readonly body: EbnfNode; /** Where it begins in the text. */ readonly at: number }>;

/** Characters of the text that an error shows. */
const shownMax = 24;

/** The grammar is none, and where. */
export class EbnfError extends Error {
  override readonly name = "EbnfError";

  /** @param at index in the grammar's text */
  constructor(text: string, at: number, why: string) {
    const before = text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - (before.lastIndexOf("\n") + 1) + 1;
    const here = (text.slice(at).split("\n")[0] ?? "").slice(0, shownMax);
    super(`line ${line}, column ${column}: ${why}${here === "" ? "" : ` (at ${JSON.stringify(here)})`}`);
  }
}
