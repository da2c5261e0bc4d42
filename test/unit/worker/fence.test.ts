import { describe, expect, it } from "vitest";
import { type Epoch, nodeId } from "../../../src/core/ids.js";
import { type Term, admitLoad, admitStep } from "../../../src/worker/fence.js";

const epoch = (counter: number, node = "a"): Epoch => ({ counter, nodeId: nodeId(node) });
const term = (counter: number, node: string, planVersion: number): Term => ({ epoch: epoch(counter, node), planVersion });
const code = (act: () => void): string => { try { act(); return "admitted"; } catch (error) { return (error as { readonly code: string }).code; } };

describe("fence", () => {
  it.each([
    ["a higher counter", term(6, "a", 1), "admitted"],
    ["the same counter of a higher node", term(5, "c", 1), "admitted"],
    ["the same epoch and plan again", term(5, "b", 3), "admitted"],
    ["a later plan of the same epoch", term(5, "b", 4), "admitted"],
    ["an earlier plan of the same epoch", term(5, "b", 2), "stale_epoch"],
    ["the same counter of a lower node", term(5, "a", 9), "stale_epoch"],
    ["a lower counter", term(4, "z", 9), "stale_epoch"],
  ])("Load with %s", (_name, load, expected) => {
    expect(code(() => { admitLoad(epoch(5, "b"), term(5, "b", 3), load); })).toBe(expected);
  });

  it("admits a Load of an earlier plan version when the process knows no plan yet", () => {
    expect(code(() => { admitLoad(epoch(5, "b"), undefined, term(5, "b", 1)); })).toBe("admitted");
    expect(code(() => { admitLoad(epoch(5, "b"), undefined, term(5, "a", 1)); })).toBe("stale_epoch");
  });

  it.each([
    ["the active plan", term(5, "b", 3), term(5, "b", 3), "admitted"],
    ["an older plan", term(5, "b", 3), term(5, "b", 2), "stale_epoch"],
    ["an older epoch", term(5, "b", 3), term(4, "b", 3), "stale_epoch"],
    ["a plan that was not loaded yet", term(5, "b", 3), term(5, "b", 4), "not_ready"],
    ["an epoch that was not loaded yet", term(5, "b", 3), term(6, "a", 1), "not_ready"],
    ["anything before the first load", undefined, term(5, "b", 3), "not_ready"],
    ["an older epoch before the first load", undefined, term(4, "b", 3), "stale_epoch"],
  ])("a step of %s", (_name, active, step, expected) => {
    expect(code(() => { admitStep(epoch(5, "b"), active, step); })).toBe(expected);
  });
});
