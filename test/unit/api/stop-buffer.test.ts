import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopBuffer } from "../../../src/api/stop-buffer.js";

function run(stops: readonly string[], pieces: readonly string[]) {
  const buffer = new StopBuffer(stops);
  const released: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = buffer.push(piece);
    released.push(text);
    if (stopped) return { released, text: released.join(""), stopped: true };
  }
  released.push(buffer.flush());
  return { released, text: released.join(""), stopped: false };
}

/** The definition, read off character by character. */
function reference(stops: readonly string[], text: string) {
  for (let end = 1; end <= text.length; end += 1) {
    const ending = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (ending.length > 0) return { text: text.slice(0, end - Math.max(...ending.map((stop) => stop.length))), stopped: true };
  }
  return { text, stopped: false };
}

// Few letters, so that stop strings occur, overlap and nearly occur.
const letters = (constraints: object) => fc.string({ unit: fc.constantFrom("a", "b", "c"), ...constraints });
const stops = fc.array(letters({ minLength: 1, maxLength: 5 }), { maxLength: 4 });
const pieces = fc.array(letters({ maxLength: 6 }), { maxLength: 12 });

describe("StopBuffer", () => {
  it("finds a stop string across pieces and discards it with all that follows", () => {
    expect(run(["END"], ["say E", "N", "D and more"])).toEqual({ released: ["say ", "", ""], text: "say ", stopped: true });
  });

  it("releases what only looked like a beginning", () => {
    expect(run(["END"], ["E", "N", "T", "ER"])).toEqual({ released: ["", "", "ENT", "ER", ""], text: "ENTER", stopped: false });
  });

  it("passes everything through at once without stop strings", () => {
    expect(run([], ["a", "b"]).released).toEqual(["a", "b", ""]);
  });

  it("prefers the stop string that completes first, and of two that complete together the longer", () => {
    expect(run(["abcd", "bc"], ["abcd"]).text).toBe("a");
    expect(run(["bc", "abc"], ["xabc"]).text).toBe("x");
  });

  it("gives what reading character by character gives, however the text is cut", () => {
    fc.assert(fc.property(stops, pieces, (stops, pieces) => {
      const { text, stopped } = run(stops, pieces);
      expect({ text, stopped }).toEqual(reference(stops, pieces.join("")));
    }), { numRuns: 3_000 });
  });

  it("never releases text that a later piece could turn into a stop string", () => {
    fc.assert(fc.property(stops, pieces, (stops, pieces) => {
      const buffer = new StopBuffer(stops);
      let out = "";
      for (const piece of pieces) {
        const { text, stopped } = buffer.push(piece);
        out += text;
        if (stopped) return;
        for (const stop of stops) {
          for (let length = 1; length < stop.length; length += 1) expect(out.endsWith(stop.slice(0, length)) && out.length > 0 && buffer.heldLength === 0).toBe(false);
        }
      }
    }), { numRuns: 1_000 });
  });
});
