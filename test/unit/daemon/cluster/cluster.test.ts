import { describe, expect, it } from "vitest";
import { type Heartbeat, PROTOCOL } from "../../../../src/daemon/cluster/messages.js";
import { plannerDefaults } from "../../../../src/daemon/planner/plan.js";
import { planRing } from "../../../../src/daemon/planner/planner.js";
import { TestNode, facts, id, localFacts, model, worker } from "./make.js";

const heartbeat = (seq: number, change: Partial<Heartbeat> = {}): Heartbeat => ({
  type: "heartbeat", clusterId: "cluster", clusterName: "home", protocol: PROTOCOL, incarnation: 1, seq, wallMs: 1_700_000_000_000, factsVersion: 1, facts: facts("mini2"), rows: [], forgotten: [], ...change,
});

/** A peer that hears everything and says so. */
function meet(node: TestNode, seq: number, change: Partial<Heartbeat> = {}, from = "b"): void {
  const heard = Math.max(0, ...node.sent.map((message) => message.seq));
  node.put({ kind: "message", from: id(from), message: heartbeat(seq, { rows: [{ id: id("a"), incarnation: node.view().incarnation, seq: heard, ageMs: 0, state: "alive", hops: 0, factsVersion: 0 }], wallMs: node.wallMs, ...change }) });
}

/** The whole model on one machine. */
function ringOf(letter: string, deviceId: string) {
  const planned = planRing(model, [{ nodeId: id(letter), deviceId, cores: 8, budgetBytes: 8e9, workerAddresses: [`${deviceId}:50051`], unheard: [] }], plannerDefaults, new Map());
  if (!planned.fits) throw new Error(planned.reason);
  return planned.ring;
}

describe("a node alone", () => {
  it("says nothing before its incarnation is on disk", () => {
    const node = new TestNode();
    const [first] = node.effects;
    expect(first).toMatchObject({ kind: "persist", record: { incarnation: 1 } });
  });

  it("leads itself after listening, plans, and asks its worker for everything", () => {
    const node = new TestNode();
    node.pass(1_250);
    expect(node.view().role).toBe("listening");
    node.pass(500);
    expect(node.view()).toMatchObject({ role: "leader", ready: false, rank: 0 });
    const applied = node.effects.find((effect) => effect.kind === "applyPlan");
    expect(applied).toMatchObject({ rank: { layers: { first: 0, end: 12 }, ownsText: true } });
    expect(node.view().notReady.join()).toContain("mini1 has not loaded layers 0-11 yet");
  });

  it("is ready when its worker reports the stage of exactly this plan", () => {
    const node = new TestNode();
    node.pass(2_000);
    const { epoch, plan } = node.view();
    node.put({ kind: "facts", facts: localFacts("mini1", { worker: worker({ phase: "idle", loaded: { epoch: epoch!, planVersion: plan!.version - 1 } }) }) });
    expect(node.view().ready).toBe(false);
    node.put({ kind: "facts", facts: localFacts("mini1", { worker: worker({ phase: "idle", loaded: { epoch: epoch!, planVersion: plan!.version } }) }) });
    expect(node.view()).toMatchObject({ ready: true, notReady: [] });
  });

  it("asks a worker that came back for its stage again", () => {
    const node = new TestNode();
    node.pass(2_000);
    const before = node.effects.filter((effect) => effect.kind === "applyPlan").length;
    node.put({ kind: "facts", facts: localFacts("mini1", { worker: worker({ incarnation: "next" }) }) });
    expect(node.effects.filter((effect) => effect.kind === "applyPlan")).toHaveLength(before + 1);
  });

  it("never uses an epoch twice: after a restart the counter rises", () => {
    const durable = { incarnation: 4, epoch: { counter: 9, nodeId: id("a") }, planVersion: 3, forgotten: [], peers: [] };
    const node = new TestNode({ durable });
    node.pass(2_000);
    expect(node.view()).toMatchObject({ incarnation: 5, epoch: { counter: 10 } });
    expect(node.view().plan?.version).toBeGreaterThan(3);
  });

  it("starts above the floor when its record was lost", () => {
    const node = new TestNode({ counterFloor: 200_000_000 });
    node.pass(2_000);
    expect(node.view().incarnation).toBe(200_000_001);
    expect(node.view().epoch?.counter).toBe(200_000_001);
  });

  it("says in words that the model does not fit, and what to do", () => {
    const node = new TestNode({ facts: localFacts("mini1", { budgetBytes: 5e8 }) });
    node.pass(2_000);
    expect(node.view().notReady).toEqual(["model needs 1.4 GB: 1.4 GB of weights and 6 MB of cache for 512 tokens. mini1 offers 450 MB (10 % kept free): 956 MB short."]);
    expect(node.codes()).toContain("model_does_not_fit");
  });

  it("has no plan without a model, and makes one when it gets one", () => {
    const node = new TestNode({ model: undefined });
    node.pass(2_000);
    expect(node.codes()).toContain("no_model");
    node.put({ kind: "model", model });
    expect(node.view().plan?.ranks).toHaveLength(1);
  });

  it("is drained at once when it drains", () => {
    const node = new TestNode();
    node.pass(2_000);
    node.put({ kind: "drain", draining: true });
    expect(node.view()).toMatchObject({ draining: true, drained: true });
  });
});

describe("a node and a peer", () => {
  it("calls on whoever is introduced, until it answers", () => {
    const node = new TestNode();
    node.put({ kind: "introduction", address: "mini2:50050", source: "config" });
    const calls = () => node.effects.filter((effect) => effect.kind === "send" && effect.to.addresses[0] === "mini2:50050" && effect.to.nodeId === undefined).length;
    expect(calls()).toBe(1);
    node.pass(5_000);
    const tried = calls();
    expect(tried).toBeGreaterThan(2);
    for (let round = 1; round < 20; round += 1) { meet(node, round); node.pass(500); }
    expect(calls()).toBeLessThanOrEqual(tried + 1);
    expect(node.view().members[1]).toMatchObject({ nodeId: id("b"), state: "alive", direct: true });
  });

  it("follows an incumbent although it is preferred itself", () => {
    const node = new TestNode({ facts: localFacts("mini1", { localRank: 0 }) });
    const epoch = { counter: 3, nodeId: id("b") };
    for (let round = 1; round < 10; round += 1) { meet(node, round, { leads: epoch }); node.pass(500); }
    expect(node.view()).toMatchObject({ role: "follower", leader: id("b"), epoch });
  });

  it("remembers that a leader took its plan back, also when it heard so under another leader", () => {
    const node = new TestNode();
    const first = { counter: 3, nodeId: id("b") };
    for (let round = 1; round < 6; round += 1) { meet(node, round, { leads: first }); node.pass(500); }
    node.put({ kind: "message", from: id("b"), message: { type: "plan", clusterId: "cluster", clusterName: "home", protocol: PROTOCOL, incarnation: 1, seq: 6, plan: { ...ringOf("b", "mini2"), epoch: first, version: 1, model, why: "test" } } });
    expect(node.view().plan?.version).toBe(1);
    const other = (seq: number) => { meet(node, seq, { leads: { counter: 4, nodeId: id("c") }, facts: facts("mini3") }, "c"); };
    for (let round = 1; round < 4; round += 1) { other(round); meet(node, 6 + round, { leads: first }); node.pass(500); }
    expect(node.view().leader).toBe(id("c"));
    meet(node, 10, { leads: first, factsVersion: 2, facts: facts("mini2", { version: 2, planless: { why: "46 MB short", upTo: 1 } }) });
    for (let round = 11; round < 30; round += 1) { meet(node, round, { leads: first, factsVersion: 2 }); node.pass(500); }
    expect(node.view()).toMatchObject({ leader: id("b"), plan: undefined, notReady: ["46 MB short"] });
    expect(node.codes()).toContain("model_does_not_fit");
  });

  it("takes back only plans of its own term: the one it followed before is in force again when its term returns", () => {
    const node = new TestNode({ facts: localFacts("mini1", { budgetBytes: 5e8 }) });
    const first = { counter: 3, nodeId: id("b") };
    const plan = { ...ringOf("b", "mini2"), epoch: first, version: 1, model, why: "test" };
    for (let round = 1; round < 6; round += 1) { meet(node, round, { leads: first }); node.pass(500); }
    node.put({ kind: "message", from: id("b"), message: { type: "plan", clusterId: "cluster", clusterName: "home", protocol: PROTOCOL, incarnation: 1, seq: 6, plan } });
    expect(node.view().plan?.version).toBe(1);
    node.pass(10_000);
    expect(node.view()).toMatchObject({ role: "leader", plan: undefined });
    expect(node.codes()).toContain("model_does_not_fit");
    for (let round = 1; round < 4; round += 1) { meet(node, round, { leads: { counter: 9, nodeId: id("c") }, facts: facts("mini3") }, "c"); meet(node, 6 + round, { leads: first }); node.pass(500); }
    expect(node.view().leader).toBe(id("c"));
    for (let round = 10; round < 30; round += 1) { meet(node, round, { leads: first }); node.pass(500); }
    expect(node.view()).toMatchObject({ leader: id("b"), plan: { version: 1 } });
  });

  it("adopts a plan that a later heartbeat has overtaken, but not one from the sender's earlier life", () => {
    const node = new TestNode();
    const epoch = { counter: 3, nodeId: id("b") };
    for (let round = 1; round < 6; round += 1) { meet(node, 2 * round, { leads: epoch, incarnation: 2 }); node.pass(500); }
    const plan = { ...ringOf("b", "mini2"), epoch, version: 1, model, why: "test" };
    const late = (incarnation: number) => { node.put({ kind: "message", from: id("b"), message: { type: "plan", clusterId: "cluster", clusterName: "home", protocol: PROTOCOL, incarnation, seq: 9, plan } }); };
    late(1);
    expect(node.view().plan).toBeUndefined();
    late(2);
    expect(node.view().plan?.version).toBe(1);
  });

  it("does not mistake a peer that cannot hear it for a member", () => {
    const node = new TestNode();
    for (let round = 1; round < 20; round += 1) { node.put({ kind: "message", from: id("b"), message: heartbeat(round, { leads: { counter: 9, nodeId: id("b") } }) }); node.pass(500); }
    expect(node.view().members[1]?.state).toBe("introduced");
    expect(node.view().role).toBe("leader");
  });

  it("tells two clusters of one name apart, and says so", () => {
    const node = new TestNode();
    node.put({ kind: "introduction", address: "elsewhere:50050", source: "mdns", nodeId: id("c"), clusterId: "another", clusterName: "home" });
    node.put({ kind: "message", from: id("c"), message: heartbeat(1, { clusterId: "another" }) });
    expect(node.view().members).toHaveLength(1);
    expect(node.codes()).toContain("two_clusters_one_name");
    node.pass(70_000);
    expect(node.codes()).not.toContain("two_clusters_one_name");
  });

  it("keeps a machine of another protocol out of election and plan, and names it", () => {
    const node = new TestNode();
    for (let round = 1; round < 10; round += 1) { meet(node, round, { protocol: { min: 7, max: 8 }, leads: { counter: 50, nodeId: id("b") } }); node.pass(500); }
    expect(node.view().role).toBe("leader");
    expect(node.view().members[1]?.state).toBe("incompatible");
    expect(node.view().plan?.ranks).toHaveLength(1);
    expect(node.codes()).toContain("protocol_mismatch");
  });

  it("forms one ring with the adjacent protocol version", () => {
    const node = new TestNode();
    for (let round = 1; round < 12; round += 1) { meet(node, round, { protocol: { min: PROTOCOL.max, max: PROTOCOL.max + 1 } }); node.pass(500); }
    expect(node.view().plan?.ranks).toHaveLength(2);
  });

  it("refuses a forgotten machine for good, and passes the word on", () => {
    const node = new TestNode();
    meet(node, 1);
    node.put({ kind: "forget", nodeId: id("b") });
    meet(node, 2);
    expect(node.view().members).toHaveLength(1);
    expect(node.effects.findLast((effect) => effect.kind === "persist")).toMatchObject({ record: { forgotten: [id("b")] } });
    node.put({ kind: "message", from: id("c"), message: heartbeat(1, { facts: facts("mini3") }) });
    node.pass(1_000);
    expect(node.sent.findLast((message) => message.type === "heartbeat")).toMatchObject({ forgotten: [id("b")] });
  });

  it("warns of clocks that disagree", () => {
    const node = new TestNode();
    meet(node, 1, { wallMs: node.wallMs + 90_000 });
    expect(node.view().conditions.find((condition) => condition.code === "clock_skew")?.text).toBe("the clock of mini2 is 90 s ahead of this one");
  });

  it("raises its incarnation when others remember a later life, and is silent until that is on disk", () => {
    const node = new TestNode();
    meet(node, 1, { rows: [{ id: id("a"), incarnation: 1, seq: 5_000, ageMs: 0, state: "alive", hops: 0, factsVersion: 0 }] });
    expect(node.view().incarnation).toBe(2);
    expect(node.effects.findLast((effect) => effect.kind === "persist")).toMatchObject({ record: { incarnation: 2 } });
  });

  it("holds a peer whose machine refuses connections for dead in half the time, in a quarter when its worker's port refuses too", () => {
    const silent = new TestNode();
    const refused = new TestNode();
    const down = new TestNode();
    for (const node of [silent, refused, down]) for (let round = 1; round < 6; round += 1) { meet(node, round); node.pass(500); }
    refused.put({ kind: "refused", nodeId: id("b"), byWorkerToo: false });
    down.put({ kind: "refused", nodeId: id("b"), byWorkerToo: true });
    refused.pass(700);
    down.pass(700);
    expect(refused.view().members[1]?.state).toBe("alive");
    expect(down.view().members[1]).toMatchObject({ state: "dead", cause: "its agent and its worker are not running" });
    // What it said long ago does not bring it back.
    for (let waited = 0; waited < 1_500; waited += 100) {
      down.pass(100);
      expect(down.view().members[1]?.state).toBe("dead");
    }
    silent.pass(2_500);
    refused.pass(1_800);
    expect(silent.view().members[1]?.state).toBe("suspect");
    expect(refused.view().members[1]).toMatchObject({ state: "dead", cause: "its agent is not running" });
  });

  it("says goodbye when it leaves, and nothing afterwards", () => {
    const node = new TestNode();
    meet(node, 1);
    meet(node, 2);
    node.put({ kind: "leave" });
    expect(node.sent.at(-1)?.type).toBe("leave");
    const said = node.sent.length;
    node.pass(2_000);
    expect(node.sent).toHaveLength(said);
  });

  it("remembers peers for the next start", () => {
    const node = new TestNode();
    for (let round = 1; round < 4; round += 1) { meet(node, round); node.pass(500); }
    const record = node.effects.findLast((effect) => effect.kind === "persist");
    expect(record).toMatchObject({ record: { peers: [{ nodeId: id("b"), deviceId: "mini2", addresses: ["mini2:50050"] }] } });
  });
});

describe("time", () => {
  it("steps down when a tick slips by more than the sleep limit", () => {
    const node = new TestNode();
    node.pass(2_000);
    node.now += 8_000;
    node.wallMs += 8_000;
    node.put({ kind: "tick", wallMs: node.wallMs });
    expect(node.effects).toContainEqual(expect.objectContaining({ kind: "stepDown", cause: "slept" }));
    node.pass(2_000);
    expect(node.view()).toMatchObject({ role: "leader", epoch: { counter: 2 } });
  });

  it("does not step down when only the wall clock jumps", () => {
    const node = new TestNode();
    node.pass(2_000);
    node.wallMs += 3_600_000;
    node.pass(500);
    expect(node.view().role).toBe("leader");
    expect(node.effects).toContainEqual({ kind: "event", event: { kind: "clock_jumped", byMs: 3_600_000 } });
  });
});
