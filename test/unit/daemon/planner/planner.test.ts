import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeId } from "../../../../src/core/ids.js";
import { type Device, type ModelShape, type PlannerOptions, type Ring, plannerDefaults } from "../../../../src/daemon/planner/plan.js";
import { type Held, planRing } from "../../../../src/daemon/planner/planner.js";
import { model } from "../cluster/make.js";

const device = (name: string, change: Partial<Device> = {}): Device => ({ nodeId: nodeId(name), deviceId: name, cores: 8, budgetBytes: 8e9, workerAddresses: [`${name}:50051`], unheard: [], ...change });
const nobody: Held = new Map();
const heldBy = (ring: Ring): Held => new Map(ring.ranks.map((rank) => [rank.nodeId, rank.layers]));

function ringOf(devices: readonly Device[], change: { options?: Partial<PlannerOptions>; held?: Held; model?: Partial<ModelShape> } = {}): Ring {
  const result = planRing({ ...model, ...change.model }, devices, { ...plannerDefaults, ...change.options }, change.held ?? nobody);
  if (!result.fits) throw new Error(result.reason);
  return result.ring;
}
const cut = (ring: Ring) => ring.ranks.map((rank) => `${rank.deviceId} ${rank.layers.first}-${rank.layers.end}`).join(", ");

describe("a plan", () => {
  it("gives one machine everything", () => expect(cut(ringOf([device("a")]))).toBe("a 0-12"));

  it("counts the head as work: rank 0 gets fewer layers", () => {
    // The head reads as many bytes as two layers.
    expect(cut(ringOf([device("a"), device("b")]))).toBe("a 0-5, b 5-12");
  });

  it("balances by measured speed, and guesses unmeasured machines by their cores", () => {
    const ring = ringOf([device("a", { weightBytesPerSecond: 10e9 }), device("b", { weightBytesPerSecond: 30e9 })], { model: { headBytes: 0 } });
    expect(cut(ring)).toBe("a 0-3, b 3-12");
    expect(cut(ringOf([device("a", { cores: 4, weightBytesPerSecond: 10e9 }), device("b", { cores: 12 })], { model: { headBytes: 0 } }))).toBe("a 0-3, b 3-12");
  });

  it("fits memory before it balances", () => expect(cut(ringOf([device("a"), device("b", { budgetBytes: 3.9e8, cores: 64 })]))).toBe("a 0-9, b 9-12"));

  it("leaves out a machine too small for a single layer", () => expect(cut(ringOf([device("a"), device("b", { budgetBytes: 5e7 })]))).toBe("a 0-12"));

  it("leaves out the slowest when there are more machines than layers", () =>
    expect(cut(ringOf([device("a"), device("b", { cores: 1 }), device("c")], { model: { layerCount: 2 } }))).toBe("a 0-1, c 1-2"));

  it("says how much is missing", () => {
    const result = planRing(model, [device("a", { budgetBytes: 5e8 }), device("b", { budgetBytes: 5e8 })], plannerDefaults, nobody);
    expect(result).toEqual({ fits: false, reason: "model needs 1.4 GB: 1.4 GB of weights and 6 MB of cache for 512 tokens. a and b together offer 900 MB (10 % kept free): 506 MB short." });
  });

  it("says that rank 0 is too small", () => {
    const result = planRing(model, [device("a", { budgetBytes: 2e8 }), device("b")], plannerDefaults, nobody);
    expect(result).toMatchObject({ fits: false, reason: expect.stringContaining("a is rank 0 and must hold embedding and head (200 MB) and at least one layer (100 MB), but offers 180 MB") as string });
  });

  it("shortens the context rather than not serving", () => {
    const ring = ringOf([device("a", { budgetBytes: 1.57e9 })], { options: { contextMax: 2_048 } });
    expect(ring.contextMax).toBeLessThan(2_048);
    expect(ring.contextMax).toBeGreaterThanOrEqual(512);
  });
});

describe("a change", () => {
  it("leaves layers where they are within the tolerance", () => {
    const before = ringOf([device("a", { weightBytesPerSecond: 10e9 }), device("b", { weightBytesPerSecond: 10e9 })]);
    const after = ringOf([device("a", { weightBytesPerSecond: 10.5e9 }), device("b", { weightBytesPerSecond: 9.7e9 })], { held: heldBy(before) });
    expect(cut(after)).toBe(cut(before));
  });

  it("moves layers for a real gain", () => {
    const before = ringOf([device("a", { weightBytesPerSecond: 10e9 }), device("b", { weightBytesPerSecond: 10e9 })]);
    expect(cut(ringOf([device("a", { weightBytesPerSecond: 30e9 }), device("b", { weightBytesPerSecond: 10e9 })], { held: heldBy(before) }))).not.toBe(cut(before));
  });

  it("lets survivors keep what they hold when one is lost", () => {
    const before = ringOf([device("a"), device("b"), device("c")], { options: { gainMin: 0.5 } });
    const held = heldBy(before);
    const after = ringOf([device("a"), device("b")], { held, options: { gainMin: 0.5 } });
    const b = after.ranks[1]!.layers;
    expect(Math.min(b.end, held.get(nodeId("b"))!.end) - Math.max(b.first, held.get(nodeId("b"))!.first)).toBe(held.get(nodeId("b"))!.end - held.get(nodeId("b"))!.first);
  });

  it("takes a returning machine in when all are to be used", () =>
    expect(ringOf([device("a"), device("b")], { held: heldBy(ringOf([device("a")])) }).ranks).toHaveLength(2));

  it("does not take in a machine that would only add a hop, when only the fastest are to be used", () => {
    const options = { use: "fastest" as const, hopMs: 1 };
    expect(ringOf([device("a"), device("b")], { options }).ranks).toHaveLength(1);
    expect(ringOf([device("a", { cores: 2 }), device("b", { cores: 64 })], { options }).ranks).toHaveLength(2);
  });

  it("does not swap equals", () => {
    const before = ringOf([device("a"), device("c")], { model: { layerCount: 2 } });
    expect(cut(ringOf([device("a"), device("b"), device("c")], { model: { layerCount: 2 }, held: heldBy(before) }))).toBe(cut(before));
  });
});

describe("broken links", () => {
  it("are avoided by another order", () => {
    const ring = ringOf([device("a"), device("b", { unheard: [nodeId("c")] }), device("c", { unheard: [nodeId("b")] }), device("d")]);
    expect(ring.ranks.map((rank) => rank.deviceId)).toEqual(["a", "b", "d", "c"]);
  });

  it("cost as few machines as possible where no order avoids them, and newcomers before those who serve", () => {
    const devices = [device("a"), device("b", { unheard: [nodeId("c")] }), device("c", { unheard: [nodeId("b")] })];
    expect(ringOf(devices).ranks).toHaveLength(2);
    for (const kept of ["b", "c"]) expect(ringOf(devices, { held: heldBy(ringOf([device("a"), device(kept)])) }).ranks.map((rank) => rank.deviceId)).toEqual(["a", kept]);
  });
});

describe("any plan", () => {
  const devices = fc.array(fc.record({ cores: fc.integer({ min: 1, max: 16 }), budget: fc.integer({ min: 1, max: 40 }), rate: fc.option(fc.integer({ min: 1, max: 100 })), broken: fc.array(fc.nat(8), { maxLength: 2 }) }), { minLength: 1, maxLength: 9 })
    .map((list) => list.map((each, index) => device(`d${index}`, {
      cores: each.cores, budgetBytes: each.budget * 1e8, unheard: each.broken.filter((other) => other !== index && other < list.length).map((other) => nodeId(`d${other}`)),
      ...(each.rate === null ? {} : { weightBytesPerSecond: each.rate * 1e9 }),
    })));
  const shape = fc.record({ layerCount: fc.integer({ min: 1, max: 40 }), use: fc.constantFrom("all" as const, "fastest" as const) });

  it("covers the model once, within memory, over working links, with rank 0 first; the same every time", () => {
    fc.assert(fc.property(devices, devices, shape, (first, second, { layerCount, use }) => {
      const options = { ...plannerDefaults, use };
      const before = planRing({ ...model, layerCount }, first, options, nobody);
      const held = before.fits ? heldBy(before.ring) : nobody;
      const plan = planRing({ ...model, layerCount }, second, options, held);
      expect(planRing({ ...model, layerCount }, second, options, held)).toEqual(plan);
      if (!plan.fits) { expect(plan.reason).toContain("model needs"); return; }
      const { ranks, contextMax } = plan.ring;
      expect(ranks[0]!.nodeId).toBe(second[0]!.nodeId);
      expect(ranks.map((rank) => rank.layers.first)).toEqual([0, ...ranks.slice(0, -1).map((rank) => rank.layers.end)]);
      expect(ranks.at(-1)!.layers.end).toBe(layerCount);
      for (const [index, rank] of ranks.entries()) {
        const own = second.find((each) => each.nodeId === rank.nodeId)!;
        expect(rank.weightBytes + contextMax * (rank.layers.end - rank.layers.first) * model.kvBytesPerTokenLayer).toBeLessThanOrEqual(own.budgetBytes * 0.9);
        const predecessor = ranks[(index + ranks.length - 1) % ranks.length]!;
        if (ranks.length > 1) expect(own.unheard).not.toContain(predecessor.nodeId);
      }
    }), { numRuns: 300 });
  });
});
