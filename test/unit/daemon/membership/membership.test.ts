import { describe, expect, it } from "vitest";
import type { Member, MemberRow } from "../../../../src/daemon/membership/member.js";
import { HOPS_MAX, Membership } from "../../../../src/daemon/membership/membership.js";
import { SelfDoubt } from "../../../../src/daemon/membership/self-doubt.js";
import { facts, id } from "../cluster/make.js";

const config = { suspectAfterMs: 2_000, deadAfterMs: 4_000 };
const row = (letter: string, change: Partial<MemberRow> = {}): MemberRow => ({ id: id(letter), incarnation: 1, seq: 1, ageMs: 0, state: "alive", hops: 0, factsVersion: 0, ...change });

/** A membership of node `a` that has met `b` both ways at time 0. */
function met(): { readonly membership: Membership; readonly b: Member } {
  const membership = new Membership(id("a"), config);
  const b = membership.introduce(id("b"), 0);
  membership.heard(b, 1, 1, 0);
  membership.proven(b, 0, 0);
  membership.takeEvents();
  return { membership, b };
}

describe("a member", () => {
  it("is alive only when it lives and hears us", () => {
    const membership = new Membership(id("a"), config);
    const b = membership.introduce(id("b"), 0);
    membership.heard(b, 1, 1, 0);
    membership.tick(100, 0);
    expect(b.state).toBe("introduced");
    membership.proven(b, 50, 100);
    expect(b).toMatchObject({ state: "alive", cause: "met" });
  });

  it("is suspect after 2 s without proof, dead after 4 s, and alive again with the next", () => {
    const { membership, b } = met();
    const states = [1_900, 2_100, 3_900, 4_100].map((now) => { membership.tick(now, 0); return b.state; });
    expect(states).toEqual(["alive", "suspect", "suspect", "dead"]);
    membership.heard(b, 1, 2, 5_000);
    membership.proven(b, 4_900, 5_000);
    expect(b).toMatchObject({ state: "alive", cause: "came back" });
    expect(membership.takeEvents().map((event) => (event.kind === "state" ? event.to : event.kind))).toEqual(["suspect", "dead", "alive"]);
  });

  it("that is heard but does not hear us is dead all the same", () => {
    const { membership, b } = met();
    for (let now = 500; now <= 7_000; now += 500) { membership.heard(b, 1, 1 + now / 500, now); membership.proven(b, 0, now); membership.tick(now, 0); }
    expect(b).toMatchObject({ state: "dead", cause: "it is heard, but does not hear us" });
  });

  it("gets more time from a node that doubts itself", () => {
    const { membership, b } = met();
    membership.tick(5_000, 1);
    expect(b.state).toBe("suspect");
  });

  it("is not blamed for our own standstill", () => {
    const { membership, b } = met();
    membership.forgive(4_500, 4_750);
    membership.tick(4_750, 0);
    expect(b.state).toBe("alive");
  });

  it("restarted when its incarnation rises; what it said and claimed before is void", () => {
    const { membership, b } = met();
    membership.claims(b, { counter: 1, nodeId: id("b") });
    expect(membership.heard(b, 2, 1, 600)).toBe(true);
    expect(b).toMatchObject({ incarnation: 2, leads: undefined, restarted: true, state: "alive" });
    expect(membership.heard(b, 1, 900, 700)).toBe(false);
    expect(membership.takeEvents()).toEqual([{ kind: "restarted", member: b }]);
  });

  it("that only paused keeps its incarnation: a blip", () => {
    const { membership, b } = met();
    membership.tick(3_000, 0);
    membership.heard(b, 1, 2, 3_100);
    membership.proven(b, 3_050, 3_100);
    expect(b).toMatchObject({ state: "alive", cause: "heard again", restarted: false });
  });

  it("says older words in vain", () => {
    const { membership, b } = met();
    expect(membership.heard(b, 1, 5, 100)).toBe(true);
    expect(membership.heard(b, 1, 5, 110)).toBe(false);
    expect(membership.heard(b, 1, 3, 120)).toBe(false);
  });

  it("that said goodbye stays gone whatever older words arrive, until it starts again", () => {
    const { membership, b } = met();
    membership.heard(b, 1, 9, 500);
    membership.left(b, 500);
    membership.rumour(membership.introduce(id("c"), 500), row("b", { seq: 8 }), 600);
    membership.tick(700, 0);
    expect(b.state).toBe("left");
    membership.heard(b, 2, 1, 900);
    membership.proven(b, 890, 900);
    expect(b.state).toBe("alive");
  });

  it("has its facts replaced by newer ones only", () => {
    const { membership, b } = met();
    expect(membership.learn(b, 1, facts("mini2", { version: 3 }), 0)).toBe(true);
    expect(membership.learn(b, 1, facts("mini2", { version: 2, cores: 1 }), 0)).toBe(false);
    expect(b.facts?.cores).toBe(8);
  });
});

describe("the word of others", () => {
  it("keeps a member alive that we cannot hear", () => {
    const { membership, b } = met();
    for (let now = 500; now <= 8_000; now += 500) {
      membership.heard(b, 1, 1 + now / 500, now);
      membership.proven(b, now - 100, now);
      membership.rumour(b, row("c", { seq: now, ageMs: 200 }), now);
      membership.tick(now, 0);
    }
    expect(membership.find(id("c"))).toMatchObject({ state: "alive", hops: 1, cause: "met through others" });
  });

  it("proves nothing without newer words of the member itself", () => {
    const { membership, b } = met();
    for (let now = 500; now <= 8_000; now += 500) {
      membership.heard(b, 1, 1 + now / 500, now);
      membership.proven(b, now, now);
      membership.rumour(b, row("c", { seq: 7 }), now);
      membership.tick(now, 0);
    }
    expect(membership.find(id("c"))?.state).toBe("dead");
  });

  it("does not carry on for ever: chains of relays end", () => {
    const { membership, b } = met();
    membership.rumour(b, row("c", { hops: HOPS_MAX }), 100);
    membership.tick(100, 0);
    expect(membership.find(id("c"))?.state).toBe("introduced");
  });

  it("does not overrule the member's own when it is heard directly", () => {
    const { membership, b } = met();
    const c = membership.introduce(id("c"), 0);
    for (let now = 500; now <= 6_000; now += 500) {
      membership.heard(b, 1, 1 + now / 500, now);
      membership.proven(b, now, now);
      membership.heard(c, 1, now, now);
      membership.rumour(b, row("c", { seq: now + 1 }), now + 1);
    }
    expect(c.state).toBe("introduced");
  });

  it("brings claims to lead", () => {
    const { membership, b } = met();
    const epoch = { counter: 4, nodeId: id("c") };
    expect(membership.rumour(b, row("c", { leads: epoch }), 100)).toBe(true);
    expect(membership.rumour(b, row("c", { seq: 2, leads: epoch }), 200)).toBe(false);
    expect(membership.find(id("c"))?.leads).toEqual(epoch);
  });
});

describe("self-doubt", () => {
  const doubt = () => new SelfDoubt({ tickIntervalMs: 250, heartbeatIntervalMs: 500, sleepAfterMs: 5_000 }, 0, 0);

  it("rises with late ticks, and is forgiven after punctual ones", () => {
    const self = doubt();
    self.tick(1_000, 1_000);
    self.tick(2_000, 2_000);
    expect(self.level).toBe(2);
    for (let now = 2_250; now <= 6_500; now += 250) self.tick(now, now);
    expect(self.level).toBe(0);
  });

  it("is bounded, and accusations alone raise it less", () => {
    const self = doubt();
    for (let now = 1_000; now <= 20_000; now += 1_000) self.tick(now, now);
    expect(self.level).toBe(3);
    const accused = doubt();
    for (let now = 0; now < 20; now += 1) accused.accused(now);
    expect(accused.level).toBe(1);
  });

  it("tells sleep from a clock that was set", () => {
    expect(doubt().tick(6_000, 6_000)).toMatchObject({ slept: true, clockJumpMs: 0 });
    expect(doubt().tick(250, 90_250)).toMatchObject({ slept: false, clockJumpMs: 90_000 });
    expect(doubt().tick(250, 250)).toEqual({ slipMs: 0, slept: false, clockJumpMs: 0 });
  });
});
