import { describe, expect, it } from "vitest";
import { type Epoch, epochZero } from "../../../../src/core/ids.js";
import { Election, type ElectionAction, type Electorate } from "../../../../src/daemon/election/election.js";
import { comparePreference } from "../../../../src/daemon/election/preference.js";
import type { NodeFacts } from "../../../../src/daemon/membership/facts.js";
import { type Member, newMember } from "../../../../src/daemon/membership/member.js";
import { facts, id, worker } from "../cluster/make.js";

const config = { listenMs: 1_500, staggerMs: 1_500, fencedAfterMs: 1_000 };
const epoch = (counter: number, letter: string): Epoch => ({ counter, nodeId: id(letter) });
const member = (letter: string, change: Partial<Member> = {}): Member => ({ ...newMember(id(letter), 0), state: "alive", facts: facts(`mini-${letter}`), ...change });
const electorate = (members: readonly Member[], change: Partial<Electorate> = {}): Electorate => ({ members, self: facts("mini-b"), doubt: 0, complete: false, ...change });
const kinds = (actions: readonly ElectionAction[]) => actions.map((action) => (action.kind === "lead" || action.kind === "stand" || action.kind === "stepDown" ? `${action.kind} ${action.epoch.counter}: ${action.cause}` : `${action.kind} ${action.epoch?.counter ?? "nobody"}: ${action.cause}`));

/** Node b, past listening. */
function listener(highest: Epoch = epochZero): Election { return new Election(id("b"), config, highest, -2_000); }
function leader(counter = 1): Election {
  const election = listener(epoch(counter - 1, "x"));
  election.evaluate(electorate([]), 0);
  election.persisted(epoch(counter, "b"), electorate([]), 0);
  return election;
}
function follower(members: readonly Member[]): Election {
  const election = listener();
  election.evaluate(electorate(members), 0);
  return election;
}

describe("standing for election", () => {
  it("waits until it has listened, and announces only after the disk", () => {
    const election = new Election(id("b"), config, epoch(4, "b"), 0);
    expect(election.evaluate(electorate([]), 1_400)).toEqual([]);
    expect(kinds(election.evaluate(electorate([]), 1_500))).toEqual(["stand 5: no_leader"]);
    expect(election.leads).toBeUndefined();
    expect(kinds(election.persisted(epoch(5, "b"), electorate([]), 1_510))).toEqual(["lead 5: no_leader"]);
    expect(election.leads).toEqual(epoch(5, "b"));
  });

  it("does not wait when everybody known is here", () => {
    const election = new Election(id("b"), config, epoch(4, "b"), 0);
    expect(kinds(election.evaluate(electorate([member("c")], { complete: true }), 100))).toEqual(["stand 5: no_leader"]);
  });

  it("leaves the preferred node a head start", () => {
    const election = listener();
    const others = [member("a")];
    expect(election.evaluate(electorate(others), 0)).toEqual([]);
    expect(election.evaluate(electorate(others), 900)).toEqual([]);
    expect(kinds(election.evaluate(electorate(others), 1_600))).toEqual(["stand 1: no_leader"]);
  });

  it("goes above what any worker has accepted", () => {
    const accepted = member("c", { facts: facts("mini-c", { worker: worker({ acceptedEpoch: epoch(9, "z") }) }) });
    expect(kinds(listener().evaluate(electorate([accepted]), 0))).toEqual(["stand 10: no_leader"]);
  });

  it("gives up when a leader appeared while the disk was busy", () => {
    const election = listener();
    election.evaluate(electorate([]), 0);
    const others = [member("c", { leads: epoch(1, "a") })];
    expect(kinds(election.persisted(epoch(1, "b"), electorate(others), 50))).toEqual(["follow 1: no_leader"]);
  });
});

describe("a live leader", () => {
  it("is followed although others are preferred", () => {
    const election = listener();
    expect(kinds(election.evaluate(electorate([member("c", { leads: epoch(3, "c") })], { self: facts("mini-b", { localRank: 0 }) }), 0))).toEqual(["follow 3: no_leader"]);
    expect(election.evaluate(electorate([member("c", { leads: epoch(3, "c"), state: "suspect" })]), 60_000)).toEqual([]);
  });

  it("that is dead, gone, restarted or resigned is replaced, and the cause is named", () => {
    for (const [change, cause] of [[{ state: "dead" }, "leader_dead"], [{ state: "left" }, "leader_left"], [{ leads: undefined, restarted: true }, "leader_restarted"], [{ leads: undefined }, "leader_resigned"]] as const) {
      const election = follower([member("c", { leads: epoch(3, "c") })]);
      expect(kinds(election.evaluate(electorate([member("c", { leads: epoch(3, "c"), ...change })]), 100))[0]).toBe(`follow nobody: ${cause}`);
    }
  });

  it("that drains goes on until another has taken over", () => {
    const leading = { leads: epoch(3, "c"), facts: facts("mini-c", { draining: true }) };
    const election = follower([member("c", leading)]);
    const actions = election.evaluate(electorate([member("c", leading)]), 100);
    const all = [...kinds(actions), ...kinds(election.persisted(epoch(4, "b"), electorate([member("c", leading)]), 120))];
    expect(all).toEqual(["lead 4: leader_draining"]);
  });

  it("whose worker crashes over and over hands over too", () => {
    const leading = { leads: epoch(3, "c"), facts: facts("mini-c", { worker: worker({ crashLooping: true }) }) };
    const election = listener();
    expect(kinds(election.evaluate(electorate([member("c", leading)]), 100))).toEqual(["follow 3: no_leader", "stand 4: leader_worker_failed"]);
  });

  it("of an incompatible protocol is none", () => expect(kinds(listener().evaluate(electorate([member("c", { leads: epoch(3, "c"), compatible: false })]), 0))).toEqual(["stand 1: no_leader"]));
});

describe("a leader", () => {
  it("steps down for a higher epoch and follows it", () => {
    expect(kinds(leader().evaluate(electorate([member("c", { leads: epoch(2, "c") })]), 100))).toEqual(["stepDown 1: higher_epoch", "follow 2: higher_epoch"]);
  });

  it("yields to the higher node id when counters are equal", () => {
    expect(kinds(leader(2).evaluate(electorate([member("c", { leads: epoch(2, "c") })]), 100))).toEqual(["stepDown 2: higher_epoch", "follow 2: higher_epoch"]);
    expect(leader(2).evaluate(electorate([member("a", { leads: epoch(2, "a") })]), 100)).toEqual([]);
  });

  it("ignores lower epochs and those of the dead", () => {
    expect(leader(5).evaluate(electorate([member("c", { leads: epoch(4, "c") }), member("d", { leads: epoch(9, "d"), state: "dead" })]), 100)).toEqual([]);
  });

  it("stands again above an epoch that a worker has accepted from somebody else", () => {
    const election = leader();
    const fencing = [member("c", { facts: facts("mini-c", { worker: worker({ acceptedEpoch: epoch(7, "z") }) }) })];
    expect(election.evaluate(electorate(fencing), 100)).toEqual([]);
    expect(kinds(election.evaluate(electorate(fencing), 1_200))).toEqual(["stand 8: fenced"]);
    expect(kinds(election.persisted(epoch(8, "b"), electorate(fencing), 1_210))).toEqual(["stepDown 1: fenced", "lead 8: fenced"]);
  });

  it("abdicates after sleep, and listens before it stands again", () => {
    const election = leader();
    expect(kinds(election.abdicate("slept", 10_000))).toEqual(["stepDown 1: slept", "follow nobody: slept"]);
    expect(election.evaluate(electorate([]), 11_000)).toEqual([]);
    expect(kinds(election.evaluate(electorate([]), 11_600))).toEqual(["stand 2: slept"]);
  });
});

describe("the order of preference", () => {
  const sorted = (candidates: readonly { readonly letter: string; readonly facts: NodeFacts }[], last = "z") =>
    candidates.map(({ letter, facts: own }) => ({ id: id(letter), facts: own })).sort((a, b) => comparePreference(a, b, id(last))).map((candidate) => candidate.id[0]).join("");

  it("is LOCAL_RANK, then the place in the device list, then capacity, then id", () => {
    const candidates = [
      { letter: "a", facts: facts("a") }, { letter: "b", facts: facts("b", { budgetBytes: 9e9 }) }, { letter: "c", facts: facts("c", { deviceIndex: 1 }) },
      { letter: "d", facts: facts("d", { deviceIndex: 0 }) }, { letter: "e", facts: facts("e", { localRank: 1 }) }, { letter: "f", facts: facts("f") },
    ];
    expect(sorted(candidates)).toBe("edcbaf");
    expect(sorted(candidates.toReversed())).toBe("edcbaf");
  });

  it("puts who led last first, and who cannot lead last", () => {
    const candidates = [{ letter: "a", facts: facts("a", { draining: true }) }, { letter: "b", facts: facts("b") }, { letter: "c", facts: facts("c") }, { letter: "d", facts: facts("d", { aside: true, localRank: 0 }) }];
    expect(sorted(candidates, "c")).toBe("cbda");
  });
});
