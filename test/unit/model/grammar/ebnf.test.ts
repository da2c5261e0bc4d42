import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { ebnfExpr } from "../../../../src/model/grammar/ebnf.js";
import { EbnfError } from "../../../../src/model/grammar/ebnf-node.js";
import { Automaton, dead } from "../../../../src/model/grammar/automaton.js";
import { chance } from "../../../support/chance.js";
import { compiled, vocabulary, walk } from "./walk.js";

function takes(grammar: string, text: string): boolean {
  const automaton = new Automaton(ebnfExpr(grammar), 16);
  let state = automaton.start;
  for (const value of new TextEncoder().encode(text)) {
    if (state === dead) return false;
    state = automaton.step(state, value);
  }
  return state !== dead && automaton.accepts(state);
}

describe("a grammar in EBNF", () => {
  it.each<[name: string, grammar: string, yes: readonly string[], no: readonly string[]]>([
    ["texts and alternatives", 'root ::= "yes" | \'no\' | ""', ["yes", "no", ""], ["ye", "yesno"]],
    ["rules over several lines, with comments", '# what it is\nroot ::= greeting " "\n  name # who\ngreeting ::= "hi"\n  | "hello"\nname ::= "Ann"', ["hi Ann", "hello Ann"], ["hi", "hi  Ann"]],
    ["classes, ranges, complements", 'root ::= [a-cX-Z_-]+ [^\\n"]', ["ab-Z_!", "c漢"], ["d!", 'a"', "a\n"]],
    ["repetitions", 'root ::= "a"? "b"* "c"+ "d"{2} "e"{1,} "f"{0,2}', ["cdde", "abbccddeeff"], ["cde", "cddefff", "dde"]],
    ["groups", 'root ::= ("a" | "b" ("c" | "d"))+', ["abcbd", "a"], ["b", ""]],
    ["escapes", 'root ::= "\\x41\\u00e9\\U0001F600\\n\\t\\r\\\\\\"\\[" [\\]\\-\\x30-\\x32]', ['Aé😀\n\t\r\\"[]', 'Aé😀\n\t\r\\"[1'], ['Aé😀\n\t\r\\"[3']],
    ["any character", 'root ::= . . "."', ["漢😀.", "\n.."], ["a.", "abc"]],
    ["recursion", 'root ::= value\nvalue ::= "(" value ")" | list | "x"\nlist ::= "[" (value ("," value)*)? "]"', ["((x))", "[x,[(x)],[]]"], ["((x)", "[x,]"]],
    ["names with dashes and digits", "root ::= rule-1 rule_2\nrule-1 ::= \"a\"\nrule_2 ::= [0-9]", ["a1"], ["a"]],
    ["windows line ends", 'root ::= a\r\na ::= "x"\r\n', ["x"], ["x\r"]],
  ])("%s", (_name, grammar, yes, no) => {
    for (const text of yes) expect([text, takes(grammar, text)]).toEqual([text, true]);
    for (const text of no) expect([text, takes(grammar, text)]).toEqual([text, false]);
  });

  it.each<[grammar: string, where: string, why: RegExp]>([
    ['root ::= "a" | missing', "line 1, column 16", /no rule 'missing'/u],
    ['start ::= "a"', "line 1, column 14", /no rule 'root'/u],
    ['root ::= "a\n', "line 1, column 10", /text is not closed/u],
    ["root ::= [abc", "line 1, column 10", /class is not closed/u],
    ["root ::= []", "line 1, column 10", /class without characters/u],
    ["root ::= [z-a]", "line 1, column 14", /out of order/u],
    ['root ::= ("a" | "b"', "line 1, column 10", /group is not closed/u],
    ['root ::= "a")', "line 1, column 13", /a rule is expected/u],
    ['root ::= * "a"', "line 1, column 10", /nothing to repeat/u],
    ['root ::= "a"**', "line 1, column 14", /nothing to repeat/u],
    ['root ::= "a"{3,1}', "line 1, column 13", /out of order/u],
    ['root ::= "a"{x}', "line 1, column 13", /\{m\}, \{m,\} or \{m,n\}/u],
    ['root ::= "a"{20000}', "line 1, column 13", /more than 10000/u],
    ['root ::= "a"\nroot ::= "b"', "line 2, column 1", /there twice/u],
    ['root = "a"', "line 1, column 6", /'::=' is expected/u],
    ['root ::= "\\q"', "line 1, column 11", /'\\q' is not possible/u],
    ['root ::= "\\uD800"', "line 1, column 11", /4 hexadecimal digits/u],
    ['root ::= root "a" | "a"', "line 1, column 10", /begins with itself/u],
    ['root ::= a\na ::= "x"? b\nb ::= [0-9]* a "y" | "z"', "line 3, column 14", /'a' begins with itself/u],
    ['root ::= "a" root', "line 1, column 1", /never comes to an end/u],
    [`root ::= ${"(".repeat(65)}"a"${")".repeat(65)}`, "line 1, column 75", /64 groups/u],
    ["root ::= §", "line 1, column 10", /'§' is not expected/u],
  ])("is refused where it is wrong: %s", (grammar, where, why) => {
    expect(() => ebnfExpr(grammar)).toThrow(EbnfError);
    expect(() => ebnfExpr(grammar)).toThrow(why);
    expect(() => ebnfExpr(grammar)).toThrow(where);
  });

  it("is read or refused, and nothing else, whatever the text", () => {
    const piece = fc.constantFrom("root", "a", "::=", '"x"', "'y'", "[a-z]", "[^", "]", "(", ")", "|", "*", "+", "?", "{2}", "{", "\n", " ", "#", ".", "\\", '"', "漢", "0");
    fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      try { expect(new Automaton(ebnfExpr(pieces.join("")), 16).generation).toBe(1); } catch (thrown) { expect(thrown).toBeInstanceOf(EbnfError); }
    }), { numRuns: 2_000 });
  });

  it("costs little to read at its largest", () => {
    const many = (count: number, rule: (index: number) => string) => Array.from({ length: count }, (_, index) => rule(index)).join("\n");
    const chain = `${many(1_023, (index) => `r${index} ::= ${index === 1_022 ? '"x"' : `r${index + 1}? r${index + 1}`}`)}\nroot ::= r0`;
    const wide = `root ::= ${"( \"a\" | ".repeat(60)}${"\"b\" ".repeat(20_000)}${")".repeat(60)}`;
    for (const grammar of [chain, wide]) {
      const before = process.cpuUsage();
      ebnfExpr(grammar);
      const { user, system } = process.cpuUsage(before);
      expect((user + system) / 1_000).toBeLessThan(3_000);
    }
    expect(() => ebnfExpr(many(1_025, (index) => `r${index} ::= "x"`))).toThrow(/more than 1024 rules/u);
  });
});

describe("with a model's vocabulary", () => {
  let words: Awaited<ReturnType<typeof vocabulary>>;
  beforeAll(async () => { words = await vocabulary(); });

  it("lets only texts of the grammar through, whatever is chosen", () => {
    const grammar = 'root ::= term (("+" | "-") term)*\nterm ::= [0-9]{1,3} | "(" root ")"';
    const shared = compiled(ebnfExpr(grammar), words);
    const ends = new Set([")", "1", "23", "456"].flatMap((text) => words.tokenizer.encode(text, false)));
    let finished = 0;
    for (let seed = 0; seed < 40; seed += 1) {
      const tokens = walk(shared, chance(seed), ends, 200);
      if (!tokens) continue;
      finished += 1;
      expect(takes(grammar, words.tokenizer.decode(tokens, { continues: true }))).toBe(true);
    }
    expect(finished).toBeGreaterThan(20);
  });
});
