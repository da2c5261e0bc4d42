import { describe, expect, it } from "vitest";
import type { CacheOp } from "../../../../src/core/worker-protocol.js";
import { SlotTable } from "../../../../src/daemon/inference/slots.js";

const tokens = (length: number): number[] => Array.from({ length }, (_, at) => at);

/** A finished sequence of `length` tokens left behind. */
function leave(slots: SlotTable, length: number, nowMs: number, ops: CacheOp[] = []): void {
  const slot = slots.acquire(length, undefined, ops);
  if (!slot) throw new Error("no slot");
  slots.hold(slot, tokens(length), length, length);
  slots.release(slot, nowMs, ops);
}

describe("the slot table", () => {
  it("charges a prefix taken over for all the memory it has touched, not only for what is kept of it", () => {
    const slots = new SlotTable(2, 100, 4);
    leave(slots, 80, 1);
    const taken = slots.acquire(50, { slot: slots.at(0), length: 45 }, []);
    expect(taken?.index).toBe(0);
    expect(slots.charged("active")).toBe(80);
    expect(slots.acquire(30, undefined, [])).toBeUndefined();
    expect(slots.acquire(20, undefined, [])?.index).toBe(1);
  });

  it("waits rather than take over a prefix whose memory does not fit beside the running ones", () => {
    const slots = new SlotTable(2, 100, 4);
    leave(slots, 80, 1);
    expect(slots.acquire(20, undefined, [])?.index).toBe(1);
    expect(slots.acquire(70, { slot: slots.at(0), length: 60 }, [])?.index).toBe(0);
    const full = new SlotTable(2, 100, 4);
    const ops: CacheOp[] = [];
    leave(full, 80, 1);
    expect(full.acquire(30, undefined, ops)?.index).toBe(1);
    expect(ops).toEqual([{ op: "drop", drop: { slot: 0 } }]);
  });

  it("keeps one of two prefixes when one contains the other", () => {
    const slots = new SlotTable(3, 1_000, 4);
    const ops: CacheOp[] = [];
    leave(slots, 30, 1, ops);
    leave(slots, 50, 2, ops);
    expect(slots.count("cached")).toBe(1);
    expect(slots.longestPrefix(tokens(60), 60, true)?.length).toBe(50);
    expect(ops).toEqual([{ op: "drop", drop: { slot: 0 } }]);
  });
});
