import { describe, expect, it } from "vitest";
import { epochZero } from "../../../src/core/ids.js";
import type { Frame, PassFailure } from "../../../src/core/worker-protocol.js";
import type { EngineHost } from "../../../src/worker/engine-host.js";
import type { RingLink } from "../../../src/worker/ring-link.js";
import { RingMember } from "../../../src/worker/ring-member.js";
import { RunOrder, newRunId } from "../../../src/worker/run-order.js";

/** @returns the places of the frames that were taken. */
function taken(...frames: readonly (readonly [run: number, place: number])[]): readonly string[] {
  const order = new RunOrder();
  return frames.flatMap(([run, place]) => {
    try { order.admit({ run, place }); } catch (error) { expect(error).toMatchObject({ code: "stage_lost" }); return []; }
    return [`${run}:${place}`];
  });
}

describe("the frames of a run", () => {
  it("are taken in order", () => {
    expect(taken([7, 1], [7, 2], [7, 3])).toEqual(["7:1", "7:2", "7:3"]);
  });

  it("are refused behind one that is missing, and so is every later one", () => {
    expect(taken([7, 1], [7, 3], [7, 4])).toEqual(["7:1"]);
  });

  it("are taken once", () => {
    expect(taken([7, 1], [7, 1], [7, 2], [7, 2])).toEqual(["7:1", "7:2"]);
  });

  it("are refused by a rank that has not seen the run begin: it was restarted", () => {
    expect(taken([7, 5], [7, 6])).toEqual([]);
  });

  it("are refused once another run has begun, however well they would fit", () => {
    expect(taken([7, 1], [7, 2], [9, 1], [7, 3], [9, 2], [7, 2])).toEqual(["7:1", "7:2", "9:1", "9:2"]);
  });

  it("end the younger run when the first of an older one comes late: what follows of either is refused, not mixed", () => {
    expect(taken([9, 1], [9, 2], [7, 1], [9, 3], [7, 3])).toEqual(["9:1", "9:2", "7:1"]);
  });

  it("have an id that no message without one can have", () => {
    expect(newRunId()).toBeGreaterThan(0);
    expect(taken([0, 0], [0, 1])).toEqual([]);
  });
});

describe("a rank", () => {
  it("does not compute a frame that a broken connection still held when the ring was started again under the same plan", async () => {
    const computed: number[] = [];
    const host = { request: (request: { readonly spans: Frame["spans"] }) => { computed.push(request.spans.length); return Promise.resolve({ hidden: new Float32Array(0), faults: [], computeMs: 0 }); } };
    const passedOn: number[] = [];
    const link = { send: (frame: Frame) => { passedOn.push(frame.stepSeq); }, close: () => Promise.resolve() };
    const member = new RingMember({ host: host as Partial<EngineHost> as EngineHost, rank: 1, last: true, link: link as Partial<RingLink> as RingLink });
    const refused: PassFailure[] = [];
    const upstream = { fail: (failure: PassFailure) => { refused.push(failure); }, end: () => undefined };
    const frame = (run: number, place: number): Frame => ({ epoch: epochZero, planVersion: 1, run, place, stepSeq: run * 100 + place, ops: [], spans: [], hidden: new Uint8Array(0), times: [] });
    for (const [run, place] of [[1, 1], [1, 2], [2, 1], [1, 3], [2, 2]] as const) await member.accept(frame(run, place), upstream);
    expect(passedOn).toEqual([101, 102, 201, 202]);
    expect(computed).toHaveLength(4);
    expect(refused).toMatchObject([{ stepSeq: 103, errorCode: "stage_lost", rank: 1 }]);
  });
});
