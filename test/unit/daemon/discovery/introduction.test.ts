import { describe, expect, it } from "vitest";
import { millis, nodeId } from "../../../../src/core/ids.js";
import { usableInterfaces } from "../../../../src/daemon/discovery/interfaces.js";
import { type Introduction, IntroductionBook, fromTxt, toTxt } from "../../../../src/daemon/discovery/introduction.js";

const self = { nodeId: nodeId("aa".repeat(16)), clusterId: "c1".repeat(16), clusterName: "lab", incarnation: "7", version: "0.1.0", httpPort: 8_100, grpcPort: 50_050 };
const strings = (txt: Record<string, string>) => Object.entries(txt).map(([key, value]) => `${key}=${value}`);

describe("an announcement", () => {
  it("has the keys that the contract names, and comes back as an introduction at the sender's address", () => {
    expect(Object.keys(toTxt(self)).toSorted()).toEqual(["cluster", "grpc", "http", "id", "inc", "name", "ver"]);
    expect(fromTxt(strings(toTxt(self)), "192.168.1.9")).toEqual({ source: "mdns", address: "192.168.1.9:50050", nodeId: self.nodeId, clusterId: self.clusterId, clusterName: "lab", incarnation: "7", version: "0.1.0", httpPort: 8_100 });
  });

  it.each([["id", "short"], ["id", ""], ["cluster", "../x"], ["inc", "x".repeat(65)], ["grpc", "0"], ["grpc", "65536"], ["grpc", "ssh"], ["http", "-1"], ["name", "x".repeat(64)]])("with %s=%s is nobody's", (key, value) => {
    expect(fromTxt(strings({ ...toTxt(self), [key]: value }), "192.168.1.9")).toBeUndefined();
  });

  it("with a key missing, without any, or with nonsense is nobody's", () => {
    expect(fromTxt(strings(toTxt(self)).slice(1), "192.168.1.9")).toBeUndefined();
    expect(fromTxt([], "192.168.1.9")).toBeUndefined();
    expect(fromTxt(["", "=", "__proto__=x"], "192.168.1.9")).toBeUndefined();
  });
});

describe("the book of introductions", () => {
  const introduction: Introduction = { source: "mdns", address: "10.0.0.1:50050", nodeId: self.nodeId, clusterId: self.clusterId, incarnation: "1" };

  it("passes on what is new or changed at once, and the unchanged twice a minute", () => {
    const book = new IntroductionBook();
    const passed: number[] = [];
    for (let second = 0; second <= 60; second += 1) if (book.offer(introduction, millis(second * 1_000))) passed.push(second);
    expect(passed).toEqual([0, 30, 60]);
    expect(book.offer({ ...introduction, incarnation: "2" }, millis(60_000))).toBe(true);
    expect(book.offer({ ...introduction, incarnation: "2", address: "10.0.0.2:50050" }, millis(60_000))).toBe(true);
    expect(book.offer({ ...introduction, incarnation: "2", clusterId: "d2".repeat(16) }, millis(60_000))).toBe(true);
  });

  it("remembers a bounded number, forgetting the oldest", () => {
    const book = new IntroductionBook();
    const claim = (index: number) => ({ ...introduction, address: `10.0.0.1:${index}` });
    for (let index = 1; index <= 300; index += 1) expect(book.offer(claim(index), millis(0))).toBe(true);
    expect(book.offer(claim(300), millis(1))).toBe(false);
    expect(book.offer(claim(1), millis(1))).toBe(true);
  });
});

describe("the interfaces to use", () => {
  const entry = (address: string, internal: boolean, family: "IPv4" | "IPv6" = "IPv4") =>
    (family === "IPv4" ? { address, internal, family, netmask: "255.255.255.0", mac: "00:00:00:00:00:01", cidr: null } : { address, internal, family, netmask: "ffff::", mac: "00:00:00:00:00:01", cidr: null, scopeid: 0 });
  const all = { lo: [entry("127.0.0.1", true), entry("::1", true, "IPv6")], en0: [entry("fe80::1", false, "IPv6"), entry("192.168.1.7", false), entry("192.168.1.8", false)], awdl0: [entry("fe80::2", false, "IPv6")] };

  it("are one IPv4 address each, loopback last", () => {
    expect(usableInterfaces(undefined, all).map((each) => each.address)).toEqual(["192.168.1.7", "127.0.0.1"]);
    expect(usableInterfaces("192.168.1.8", all)).toEqual([{ name: "en0", address: "192.168.1.8", internal: false }]);
    expect(usableInterfaces("10.9.9.9", all)).toEqual([]);
  });
});
