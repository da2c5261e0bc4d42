import { describe, expect, it } from "vitest";
import { runChecks } from "../../../src/checks/check.js";
import { clusterChecks } from "../../../src/checks/cluster-checks.js";
import type { ClusterLook, MachineWord } from "../../../src/checks/cluster-facts.js";
import { linkChecks } from "../../../src/checks/link-checks.js";
import type { LinkLook, PeerLook, Reach } from "../../../src/checks/link-facts.js";

const link: LinkLook = { from: "mini1", to: "mini2", host: "10.0.0.2", agent: { port: 50_050, reach: "answers" }, worker: { port: 50_051, reach: "answers" }, pings: true, rttMs: 0.4, bytesPerSecond: 1e8, selfRttMs: 0.2, selfBytesPerSecond: 2e8, platform: "linux" };
const peer = (change: Partial<LinkLook>, more: Partial<PeerLook> = {}): string[] =>
  runChecks(linkChecks, { link: { ...link, ...change }, reported: false, refusal: undefined, left: false, ...more }).filter(({ severity }) => severity !== "ok").map(({ severity, code }) => `${severity} ${code}`);
const agent = (reach: Reach): Partial<LinkLook> => ({ agent: { port: 50_050, reach } });
const worker = (reach: Reach): Partial<LinkLook> => ({ worker: { port: 50_051, reach } });

describe("a look at another machine", () => {
  it.each<[string, string[], string[]]>([
    ["all is well", peer({}, { reported: true }), []],
    ["the agent's port refused", peer({ ...agent("closed"), ...worker("closed") }), ["error agent_down"]],
    ["the agent's port refused, after a goodbye", peer({ ...agent("closed"), ...worker("closed") }, { left: true }), ["info agent_down"]],
    ["only the worker's port refused", peer(worker("closed"), { refusal: undefined }), ["error worker_down"]],
    ["the worker's port refused, and the machine says so itself", peer(worker("closed"), { reported: true }), []],
    ["a connection that nobody answers", peer(agent("hung")), ["error agent_hung"]],
    ["ping, but no port", peer({ ...agent("silent"), ...worker("silent") }), ["error port_blocked"]],
    ["the agent, but not the worker's port", peer({ ...worker("silent"), pings: undefined }, { reported: true }), ["error port_blocked"]],
    ["nothing at all", peer({ ...agent("silent"), ...worker("silent"), pings: false }), ["error machine_unreachable"]],
    ["no route", peer({ ...agent("unroutable"), ...worker("unroutable"), pings: false }), ["error machine_unreachable"]],
    ["a Mac that is kept from the network", peer({ ...agent("unroutable"), ...worker("unroutable"), platform: "darwin" }), ["error local_network_privacy"]],
    ["somebody else at its port", peer(agent("stranger")), ["error port_taken"]],
    ["a member that hangs up", peer(agent("refused_us")), ["error refused_by_member"]],
    ["an expired certificate", peer(agent("expired")), ["error certificate_expired"]],
    ["an answer without a report", peer({}, { refusal: "UNIMPLEMENTED" }), ["warning no_report"]],
    ["a slow cable", peer({ bytesPerSecond: 1e6 }, { reported: true }), ["warning link_slow"]],
    ["a machine that is busy with itself", peer({ bytesPerSecond: 1e6, rttMs: 90, selfBytesPerSecond: 1e7 }, { reported: true }), []],
    ["a machine whose every answer is late", peer({ bytesPerSecond: 1e6, rttMs: 90, selfRttMs: 40 }, { reported: true }), []],
    ["a long way", peer({ rttMs: 80 }, { reported: true }), ["warning link_slow"]],
  ])("%s", (_, found, expected) => { expect(found).toEqual(expected); });
});

const word: MachineWord = { device: "mini1", nodeId: "a", software: "0.1.0", clockAheadMs: undefined, clockUncertainMs: 0, modelId: "org/model", leader: "mini1", digests: { "a.safetensors": "11" } };
const cluster = (change: Partial<MachineWord>, more: Partial<ClusterLook> = {}): string[] =>
  runChecks(clusterChecks, { machines: [word, { ...word, device: "mini2", nodeId: "b", clockAheadMs: 20, clockUncertainMs: 500, ...change }], links: [], unmet: [], ...more }).filter(({ severity }) => severity !== "ok").map(({ severity, code }) => `${severity} ${code}`);

describe("machines side by side", () => {
  it.each<[string, string[], string[]]>([
    ["all the same", cluster({}), []],
    ["another release", cluster({ software: "0.2.0" }), ["warning version_skew"]],
    ["another model", cluster({ modelId: "other" }), ["warning model_differs"]],
    ["another clock", cluster({ clockAheadMs: -60_000 }), ["warning clock_skew"]],
    ["a slow answer is no wrong clock", cluster({ clockAheadMs: -11_000, clockUncertainMs: 2_000 }), []],
    ["other weights", cluster({ digests: { "a.safetensors": "22" } }), ["error model_files_differ"]],
    ["another rank 0", cluster({ leader: "mini2" }), ["error cluster_split"]],
    ["an election is no split", cluster({ leader: undefined }), []],
    ["somebody never met", cluster({}, { unmet: ["mini9"] }), ["warning member_unmet"]],
    ["one way only", cluster({}, { links: [{ ...link, agent: { port: 50_050, reach: "silent" } }, { ...link, from: "mini2", to: "mini1" }] }), ["error one_way_link"]],
    ["neither way", cluster({}, { links: [{ ...link, ...agent("silent") }, { ...link, from: "mini2", to: "mini1", ...agent("silent") }] }), []],
  ])("%s", (_, found, expected) => { expect(found).toEqual(expected); });
});
