import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { operationsDoc, writtenEntries } from "../../../scripts/gen-operations.mjs";
import { catalogue, followsFrom } from "../../../src/checks/catalogue.js";

const page = readFileSync("docs/OPERATIONS.md", "utf8");

describe("docs/OPERATIONS.md", () => {
  it("is what the generator makes of the catalogue and what was written", () => {
    expect(page).toBe(operationsDoc(catalogue, page));
  });

  it("has something written by hand for every code", () => {
    const written = writtenEntries(page);
    expect([...catalogue.keys()].filter((code) => (written.get(code) ?? "").length < 20)).toEqual([]);
  });

  it("has no entry of a code that is gone", () => {
    expect([...writtenEntries(page).keys()].filter((code) => !catalogue.has(code))).toEqual([]);
  });
});

describe("the catalogue", () => {
  it("knows every code that the source can say", () => {
    const files = readdirSync("src/checks").map((name) => readFileSync(join("src/checks", name), "utf8"));
    const said = files.flatMap((text) => [...text.matchAll(/\bcode: "([a-z0-9_]+)", (?:title|\.\.\.)/gu)].map((match) => match[1]!));
    expect(said.length).toBeGreaterThan(40);
    expect([...new Set(said)].filter((code) => !catalogue.has(code))).toEqual([]);
  });

  it("says what each means, in whole sentences", () => {
    expect([...catalogue.values()].filter(({ title, meaning }) => title === "" || !meaning.endsWith("."))).toEqual([]);
  });

  it("lets findings follow only from codes that exist", () => {
    expect(Object.entries(followsFrom).flat(2).filter((code) => !catalogue.has(code))).toEqual([]);
  });
});
