import { beforeAll, describe, expect, it } from "vitest";
import { grammarExpr, grammarText, parseGrammar, type GrammarPart } from "../../../../src/model/grammar/grammar.js";
import { GrammarMatcher } from "../../../../src/model/grammar/matcher.js";
import { allowed, compiled, stop, vocabulary } from "./walk.js";

let words: Awaited<ReturnType<typeof vocabulary>>;
beforeAll(async () => { words = await vocabulary(); });

const grammar = (part: GrammarPart) => compiled(grammarExpr(part), words);
const encode = (text: string) => words.tokenizer.encode(text, false);

/** Whether the grammar takes the text, token by token, and may end behind it. */
function takes(part: GrammarPart, text: string): "whole" | "beginning" | "no" {
  const matcher = new GrammarMatcher(grammar(part));
  const answer: number[] = [];
  for (const token of encode(text)) {
    if (!allowed(matcher.allowedAfter(answer)).includes(token)) return "no";
    answer.push(token);
  }
  return allowed(matcher.allowedAfter(answer)).includes(stop) ? "whole" : "beginning";
}

describe("GrammarMatcher", () => {
  it("allows exactly the tokens whose text may follow, and stop tokens only at an end", () => {
    const matcher = new GrammarMatcher(grammar({ kind: "regex", pattern: "(cat|car)s?" }));
    const texts = (answer: readonly number[]) => allowed(matcher.allowedAfter(answer)).map((token) => words.tokenizer.tokenText(token)).sort();
    expect(texts([])).toEqual(["c", "ca", "car", "cars", "cat", "cats"].filter((text) => encode(text).length === 1));
    expect(texts(encode("cat"))).toEqual(["<|im_end|>", "s"]);
    expect(texts(encode("cats"))).toEqual(["<|im_end|>"]);
  });

  it("does not depend on how it came to an answer: rewound, resumed or followed", () => {
    const shared = grammar({ kind: "schema", schema: { type: "object", properties: { a: { type: "string" }, b: { type: "integer" } }, required: ["a", "b"] } });
    const answer = encode('{"a": "some text", "b": 12}');
    const followed = new GrammarMatcher(shared);
    const masks = answer.map((_, length) => Int32Array.from(followed.allowedAfter(answer.slice(0, length))));
    for (const length of [5, 2, 9, 0]) {
      expect(new GrammarMatcher(shared).allowedAfter(answer.slice(0, length))).toEqual(masks[length]);
      expect(followed.allowedAfter(answer.slice(0, length))).toEqual(masks[length]);
    }
    followed.allowedAfter(encode('{"a": "other'));
    expect(followed.allowedAfter(answer.slice(0, 4))).toEqual(masks[4]);
  });

  it("never allows special tokens, and characters only in whole", () => {
    const any: GrammarPart = { kind: "schema", schema: { type: "string" } };
    const matcher = new GrammarMatcher(grammar(any));
    const ids = allowed(matcher.allowedAfter(encode('"')));
    expect(ids.filter((id) => words.tokenizer.isSpecial(id))).toEqual([]);
    expect(takes(any, '"héllo 👩‍👩‍👧 漢字"')).toBe("whole");
    expect(takes(any, '"line\nbreak"')).toBe("no");
    // The first byte of a character: then only its continuation, never the closing quote.
    const [first] = encode("漢").filter((token) => words.tokenizer.tokenBytes(token).at(-1)! >= 0x80 && words.tokenizer.tokenText(token).includes("\uFFFD"));
    const next = allowed(matcher.allowedAfter([...encode('"'), first!])).map((token) => words.tokenizer.tokenBytes(token)[0]!);
    expect(next.every((value) => value >= 0x80 && value < 0xc0)).toBe(true);
  });

  it("reads thoughts up to their end, then what must follow", () => {
    const part: GrammarPart = { kind: "sequence", parts: [{ kind: "until", marker: "</think>" }, { kind: "text", text: "\n\n" }, { kind: "object" }] };
    expect(takes(part, 'hm <b> </thin </think>\n\n{"a": [1, null]}')).toBe("whole");
    expect(takes(part, "hm </think> no")).toBe("no");
    expect(takes(part, "still thinking")).toBe("beginning");
  });

  it("survives its way over the wire", () => {
    const sent = { root: { kind: "repeat", part: { kind: "choice", parts: [{ kind: "text", text: "a" }, { kind: "optional", part: { kind: "regex", pattern: "b+" } }] }, min: 1, max: 3 }, stopTokens: [2], specialTokens: [1] } as const;
    expect(parseGrammar(grammarText(sent))).toEqual(sent);
    expect(() => parseGrammar('{"root": {"kind": "magic"}, "stopTokens": [2]}')).toThrow(/kind/u);
  });

  it("ends the answer, and does not hang, where a pattern has too many states to follow", () => {
    const matcher = new GrammarMatcher(grammar({ kind: "regex", pattern: "((a?){9999}b?){9999}" }));
    expect(allowed(matcher.allowedAfter([]))).toEqual([stop]);
  });
});
