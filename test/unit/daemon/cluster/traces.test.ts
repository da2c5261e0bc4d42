import { describe, expect, it } from "vitest";
import { type Story, tell } from "../../../sim/story.js";

/** `npx vitest run -u` writes them anew: read the difference before you commit it. */
const trace = (name: string, story: Story) => expect(tell(story)).toMatchFileSnapshot(`../../../traces/cluster/${name}.txt`);

describe("golden traces of the cluster", () => {
  it("three nodes elect one leader and make one plan", () => trace("election-of-3", { machines: 3 }));
  it("the configured preference leads", () => trace("local-rank", { machines: 3, localRanks: [undefined, undefined, 0] }));
  it("a late joiner follows the incumbent, whatever its preference", () => trace("late-joiner", { machines: 3, startAt: [0, 0, 4_000], localRanks: [undefined, undefined, 0] }));
  it("the leader's machine dies and comes back as a follower", () =>
    trace("leader-dies", { machines: 3, faults: [{ kind: "crash", at: 5_000, downMs: 8_000, machine: 0, scope: "machine", when: "now", lost: "nothing" }] }));
  it("both halves serve, and the higher epoch wins when the partition heals", () => trace("partition-and-heal", { machines: 3, faults: [{ kind: "partition", at: 5_000, forMs: 7_000, side: 1 }] }));
  it("a restarted agent of the leader leads again at once; its worker keeps its stage", () =>
    trace("restart", { machines: 3, faults: [{ kind: "crash", at: 5_000, downMs: 300, machine: 0, scope: "agent", when: "now", lost: "nothing" }] }));
  it("a blip shorter than the timeouts changes nothing", () => trace("blip", { machines: 3, faults: [{ kind: "pause", at: 5_000, forMs: 1_500, machine: 0, clockStops: false }] }));
  it("a leader that slept steps down", () => trace("sleep", { machines: 3, faults: [{ kind: "pause", at: 5_000, forMs: 9_000, machine: 0, clockStops: false }] }));
  it("a draining leader hands over before it leaves", () => trace("drain", { machines: 3, faults: [{ kind: "leave", at: 5_000, machine: 0, downMs: Infinity }] }));
  it("a machine that cannot be reached directly is not held for dead, and the ring avoids the link", () => trace("broken-link", { machines: 4, faults: [{ kind: "cut", at: 5_000, forMs: 12_000, a: 1, b: 2 }] }));
  it("a crash between fsync and announcement uses the epoch up", () =>
    trace("crash-after-fsync", { machines: 2, faults: [{ kind: "crash", at: 1_400, downMs: 1_000, machine: 0, scope: "agent", when: "after_fsync", lost: "nothing" }] }));
  it("a lost record starts above everything used before", () =>
    trace("lost-record", { machines: 2, faults: [{ kind: "crash", at: 5_000, downMs: 1_000, machine: 0, scope: "machine", when: "now", lost: "record" }] }));
  it("what does not fit any more is said in words", () =>
    trace("does-not-fit", { machines: 2, budgetMegabytes: 120, faults: [{ kind: "crash", at: 5_000, downMs: 9_000, machine: 1, scope: "machine", when: "now", lost: "nothing" }] }));
});
