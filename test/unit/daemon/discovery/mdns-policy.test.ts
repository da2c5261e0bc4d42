import { describe, expect, it } from "vitest";
import { millis } from "../../../../src/core/ids.js";
import { type InterfaceAddress, type MdnsEffect, MdnsPolicy, mdnsTimes } from "../../../../src/daemon/discovery/mdns-policy.js";

const en0: InterfaceAddress = { name: "en0", address: "192.168.1.7", internal: false };
const en1: InterfaceAddress = { name: "en1", address: "10.0.0.7", internal: false };

/** A policy and its clock; `run` ticks every second. */
function subject(announces = true) {
  const policy = new MdnsPolicy({ announces });
  let second = 0;
  const words = (effects: readonly MdnsEffect[]) => effects.map((effect) => `${effect.kind} ${effect.kind === "open" ? effect.interface.address : effect.address}`);
  return {
    policy,
    tick: (interfaces: readonly InterfaceAddress[], seconds = 1, wallSeconds = seconds) => {
      second += seconds;
      wall += wallSeconds;
      return words(policy.tick(millis(second * 1_000), wall * 1_000, interfaces));
    },
    heard: (address: string) => { policy.heardSelf(address, millis(second * 1_000)); },
    failed: (address: string) => words(policy.failed(address, millis(second * 1_000))),
  };
}
let wall = 1_000;

describe("multicast DNS on changing interfaces", () => {
  it("opens a socket for each interface, asks at once, every second for ten, and every fifteen from then on", () => {
    const { tick, heard } = subject();
    expect(tick([en0, en1])).toEqual(["open 192.168.1.7", "open 10.0.0.7", "query 192.168.1.7", "query 10.0.0.7"]);
    const asked: number[] = [];
    for (let second = 1; second <= 60; second += 1) {
      if (tick([en0, en1]).includes("query 192.168.1.7")) asked.push(second);
      heard(en0.address);
      heard(en1.address);
    }
    expect(asked).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 24, 39, 54]);
  });

  it("follows interfaces that go, come, change their address, or hand their address to another", () => {
    const { tick } = subject();
    tick([en0]);
    expect(tick([])).toEqual(["close 192.168.1.7"]);
    expect(tick([en0])).toEqual(["open 192.168.1.7", "query 192.168.1.7"]);
    expect(tick([{ ...en0, address: "192.168.1.8" }])).toEqual(["close 192.168.1.7", "open 192.168.1.8", "query 192.168.1.8"]);
    expect(tick([{ ...en1, address: "192.168.1.8" }])).toEqual(["close 192.168.1.8", "open 192.168.1.8", "query 192.168.1.8"]);
  });

  it("rebuilds the socket that has not heard itself for a minute, and only that one", () => {
    const { tick, heard } = subject();
    tick([en0, en1]);
    heard(en0.address);
    const rebuilt = new Map<string, number>();
    for (let second = 1; second <= 61; second += 1) {
      for (const effect of tick([en0, en1])) if (effect.startsWith("open")) rebuilt.set(effect, second);
      heard(en1.address);
    }
    expect([...rebuilt]).toEqual([["open 192.168.1.7", 61]]);
  });

  it("never calls itself deaf when it announces nothing", () => {
    const { tick } = subject(false);
    tick([en0]);
    for (let second = 1; second <= 200; second += 1) expect(tick([en0]).filter((effect) => !effect.startsWith("query"))).toEqual([]);
  });

  it.each([["the clock that stops in sleep", 1, 3_600], ["the clock that goes on", 3_600, 3_600]])("rebuilds everything after sleep, told by %s", (_which, seconds, wallSeconds) => {
    const { tick } = subject();
    tick([en0, en1]);
    expect(tick([en0, en1], seconds, wallSeconds).filter((effect) => !effect.startsWith("query"))).toEqual(["close 192.168.1.7", "open 192.168.1.7", "close 10.0.0.7", "open 10.0.0.7"]);
  });

  it("tries a socket that failed again after ten seconds, not sooner", () => {
    const { tick, failed } = subject();
    tick([en0]);
    expect(failed(en0.address)).toEqual(["close 192.168.1.7"]);
    const opened: number[] = [];
    for (let second = 1; second <= 12; second += 1) if (tick([en0]).includes("open 192.168.1.7")) opened.push(second);
    expect(opened).toEqual([mdnsTimes.reopenAfterMs / 1_000]);
  });

  it("uses no more than eight interfaces", () => {
    const many = Array.from({ length: 50 }, (_, index) => ({ name: `tap${index}`, address: `10.1.0.${index}`, internal: false }));
    expect(subject().tick(many).filter((effect) => effect.startsWith("open"))).toHaveLength(8);
  });
});
