import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { createRequire } from "node:module";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { nodeId } from "../../src/core/ids.js";
import { silentLog } from "../../src/core/log.js";
import { systemClock } from "../../src/core/clock.js";
import { Trust } from "../../src/core/trust/trust.js";
import { browse } from "../../src/daemon/discovery/browse.js";
import { Introducer } from "../../src/daemon/discovery/introducer.js";
import type { Announcement, Introduction } from "../../src/daemon/discovery/introduction.js";
import { rememberPeers } from "../../src/daemon/discovery/known-peers.js";
import { Mdns } from "../../src/daemon/discovery/mdns.js";
import { testMulticast } from "../../src/daemon/discovery/self-test.js";
import { foundCluster } from "../../src/daemon/identity/cluster.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/wait.js";

const loopback = { name: "lo", address: "127.0.0.1", internal: true };
/** Not mDNS's own, so that other nodes of this machine (other tests, a real cluster) are not heard. */
const [port = 0] = await freePorts(1);
const onlyLoopback = { interfaces: () => [loopback], port };
const running: { stop(): Promise<void> }[] = [];
afterEach(async () => { await Promise.all(running.splice(0).map((each) => each.stop())); });
const keep = <T extends { stop(): Promise<void> }>(each: T): T => { running.push(each); return each; };

const announcement = (grpcPort: number, changes: Partial<Announcement> = {}): Announcement => ({
  nodeId: nodeId(randomBytes(16).toString("hex")), clusterId: "c1".repeat(16), clusterName: "lab", incarnation: "1", version: "0.1.0", httpPort: 8_100, grpcPort, ...changes,
});

/** Announces, and collects what it hears. */
function node(self: Announcement) {
  const heard: Introduction[] = [];
  const mdns = keep(new Mdns({ self, log: silentLog, ...onlyLoopback, onIntroduction: (introduction) => { heard.push(introduction); } }));
  return { self, heard, mdns, from: (other: Announcement) => heard.filter((each) => each.nodeId === other.nodeId).at(-1) };
}

const [loopbackMulticast] = await testMulticast({ interfaces: [loopback] });

describe.runIf(loopbackMulticast?.heard)("multicast DNS on a machine with nothing but loopback", () => {
  it("introduces three nodes to each other, with where and who they are", async () => {
    const nodes = [node(announcement(50_101)), node(announcement(50_102)), node(announcement(50_103))];
    for (const one of nodes) for (const other of nodes) {
      if (one === other) continue;
      const introduction = await until("an introduction", () => one.from(other.self));
      expect(introduction).toEqual({ source: "mdns", address: `127.0.0.1:${other.self.grpcPort}`, nodeId: other.self.nodeId, clusterId: other.self.clusterId, clusterName: "lab", incarnation: "1", version: "0.1.0", httpPort: 8_100 });
    }
    expect(nodes[0]?.heard.some((each) => each.nodeId === nodes[0]?.self.nodeId)).toBe(false);
    await until("each hears itself", () => nodes.every((each) => each.mdns.status().interfaces[0]?.heardSelfAgoMs !== undefined));
  });

  it("tells of a node that crashed and came back, on another port or with another start", async () => {
    const watcher = node(announcement(50_111));
    const first = announcement(50_112);
    const { mdns } = node(first);
    await until("the first start is heard", () => watcher.from(first)?.incarnation === "1");
    await mdns.stop();
    node({ ...first, incarnation: "2", grpcPort: 50_113 });
    expect(await until("the second start is heard", () => { const last = watcher.from(first); return last?.incarnation === "2" && last; })).toMatchObject({ address: "127.0.0.1:50113" });
  });

  it("tells whose cluster a node is in, so that two clusters of one name are told apart", async () => {
    const mine = node(announcement(50_121));
    const other = node(announcement(50_122, { clusterId: "d2".repeat(16) }));
    expect(await until("the other cluster's node", () => mine.from(other.self))).toMatchObject({ clusterName: "lab", clusterId: "d2".repeat(16) });
  });

  it("answers for minid.local while it is rank 0 and not after", async () => {
    const one = node(announcement(50_131));
    const two = node(announcement(50_132));
    expect(await askForLeader(300)).toEqual([]);
    one.mdns.setLeader(true);
    expect(await askForLeader(2_000)).toEqual(["127.0.0.1"]);
    one.mdns.setLeader(false);
    expect(await askForLeader(300)).toEqual([]);
    two.mdns.setLeader(true);
    expect(await askForLeader(2_000)).toEqual(["127.0.0.1"]);
  });

  it("is deaf to anything that is not an announcement of minid's", async () => {
    const watcher = node(announcement(50_141));
    const socket = createSocket({ type: "udp4" });
    const packets = [Buffer.from("nonsense"), responseWith(["id=../../etc/passwd", "cluster=x", "grpc=99999"]), responseWith([`id=${"0f".repeat(16)}`, `cluster=${"0f".repeat(16)}`, "inc=1", "ver=1", "http=1", "grpc=70000"]), responseWith([`id=${"0f".repeat(16)}`, `cluster=${"0f".repeat(16)}`, "inc=1", "ver=1", "http=1", "grpc=7000"])];
    await new Promise<void>((resolve) => { socket.bind(0, "127.0.0.1", resolve); });
    socket.setMulticastInterface("127.0.0.1");
    for (const packet of packets) socket.send(packet, port, "224.0.0.251");
    // The last one is well formed: when it has been heard, the others were heard and dropped.
    expect(await until("the sound announcement", () => watcher.heard.find((each) => each.nodeId === "0f".repeat(16)))).toMatchObject({ address: "127.0.0.1:7000" });
    expect(watcher.heard).toHaveLength(1);
    await new Promise<void>((resolve) => { socket.close(resolve); });
  });

  it("can be browsed by a machine that is in no cluster", async () => {
    const member = node(announcement(50_151));
    node(announcement(50_152, { clusterId: "d2".repeat(16) }));
    const found = new Set<string>();
    keep(browse({ log: silentLog, interface: "127.0.0.1", port, clusterId: member.self.clusterId, onFound: (address) => found.add(address) }));
    await until("the member is found", () => found.has("127.0.0.1:50151"));
    expect([...found]).toEqual(["127.0.0.1:50151"]);
  });
});

describe("introductions", () => {
  it("come from the configured devices and the peers known from before, without this machine's own entry", async () => {
    const home = await mkdtemp(join(tmpdir(), "minid-home-"));
    try {
      await rememberPeers(home, ["10.0.0.7:50050"]);
      await rememberPeers(home, ["10.0.0.8:50050", "10.0.0.7:50050"]);
      const heard: Introduction[] = [];
      const device = (device_id: string, hostname: string) => ({ device_id, hostname, port: 50_051, agent_port: 50_050 });
      await foundCluster(home, { name: "lab", deviceId: "mini1" });
      const trust = Trust.open(home);
      keep({ stop: () => { trust.close(); return Promise.resolve(); } });
      const config = { device_id: "mini1", devices: [device("mini1", "mini1.local"), device("mini2", "mini2.local")], mdns: false, mdns_interface: undefined, http_port: 8_100, agent_port: 50_161 };
      await keep(new Introducer({ config, trust, version: "0.1.0", incarnation: () => 1, onIntroduction: (each) => { heard.push(each); }, clock: systemClock, log: silentLog })).start();
      expect(heard).toEqual([
        { source: "config", address: "mini2.local:50050" },
        { source: "join", address: "10.0.0.8:50050" },
        { source: "join", address: "10.0.0.7:50050" },
      ]);
    } finally { await rm(home, { recursive: true, force: true }); }
  });
});

/** What an ordinary resolver does: asks from a port of its own. @returns the A records that come back within the time. */
function askForLeader(waitMs: number): Promise<string[]> {
  const query = dnsPacket.encode({ type: "query", id: 4_711, questions: [{ name: "minid.local", type: "A" }] });
  const socket = createSocket({ type: "udp4" });
  return new Promise((resolve) => {
    const addresses: string[] = [];
    const end = (): void => { clearTimeout(timer); clearInterval(repeat); socket.close(() => { resolve(addresses); }); };
    const timer = setTimeout(end, waitMs);
    const ask = (): void => { socket.send(query, port, "224.0.0.251"); };
    const repeat = setInterval(ask, 200);
    socket.on("message", (message) => {
      const answer = dnsPacket.decode(message);
      if (answer.id !== 4_711 || addresses.length > 0) return;
      for (const record of answer.answers) if (record.type === "A" && record.name === "minid.local") addresses.push(record.data);
      end();
    });
    socket.bind(0, "127.0.0.1", () => { socket.setMulticastInterface("127.0.0.1"); ask(); });
  });
}

function responseWith(texts: readonly string[]): Buffer {
  return dnsPacket.encode({ type: "response", answers: [{ name: "x._minid._tcp.local", type: "TXT", ttl: 60, data: texts.map((text) => Buffer.from(text)) }] });
}

interface DnsPacket {
  encode(packet: object): Buffer;
  decode(bytes: Buffer): { readonly id: number; readonly answers: readonly { readonly name: string; readonly type: string; readonly data: string }[] };
}
const dnsPacket = createRequire(import.meta.url)("dns-packet") as DnsPacket;
