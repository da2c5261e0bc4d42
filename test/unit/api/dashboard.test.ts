/** What the page makes of the status, and how it is served. The page itself is driven in test/integration/dashboard.test.ts and test/browser. */
import { readdirSync } from "node:fs";
import { describe, expect, expectTypeOf, it } from "vitest";
import { stories } from "../../../src/api/dashboard/incidents.js";
import { arcPath, onCircle, segments } from "../../../src/api/dashboard/ring-geometry.js";
import type { Status, TimelineEvent } from "../../../src/api/dashboard/wire.js";
import { ago, bytes, duration, number } from "../../../src/api/dashboard/words.js";
import type { StatusSnapshot } from "../../../src/daemon/status.js";
import { storySnapshot } from "../../support/dashboard-story.js";
import { frontDoor, saying, ScriptedGenerator, smolModel } from "./support.js";

let id = 0;
const event = (at_ms: number, kind: string, own: Partial<TimelineEvent> = {}): TimelineEvent => {
  id += 1;
  return { id: String(id), at_ms, kind, severity: "info", device_id: "mini2", seen_by: ["mini1"], text: kind, took_ms: null, phases: [], count: 1, ...own };
};

it("reads only what the agent sends", () => { expectTypeOf<StatusSnapshot>().toExtend<Status>(); });

describe("a story of the time line", () => {
  it("begins with the last sign of life, and says when the answers moved on", () => {
    const [story, ...others] = stories([
      event(10_300, "worker_failed", { severity: "error" }), event(10_350, "ring_not_ready", { severity: "error", device_id: "" }), event(10_900, "worker_restarted", { severity: "warning" }),
      event(12_000, "worker_recovered", { took_ms: 2_000 }), event(12_050, "ring_ready", { device_id: "" }), event(12_200, "answers_resumed", { took_ms: 2_150, count: 2 }),
    ]);
    expect(others).toEqual([]);
    expect(story).toMatchObject({ fault: true, resolved: true, startMs: 10_000, endMs: 12_200, title: "The worker of mini2 died", outcome: "2 answers moved on after 2.2 s" });
    expect(story?.marks.map(({ label, atMs }) => [label, atMs - 10_000])).toEqual([["last sign of life", 0], ["found", 300], ["ring stops", 350], ["new worker", 900], ["computes again", 2_000], ["ring ready", 2_050], ["answers move on", 2_200]]);
  });

  it("stays open while nothing has ended it, and after a second fault", () => {
    const failed = event(0, "worker_failed", { severity: "error" });
    expect(stories([failed])[0]).toMatchObject({ resolved: false, outcome: "under repair" });
    expect(stories([failed, event(1_000, "ring_ready"), event(2_000, "member_dead", { severity: "error", device_id: "mini3" })])[0]).toMatchObject({ resolved: false, title: "mini3 is gone" });
    // The repair may take long: what ends it belongs to it all the same.
    expect(stories([failed, event(60_000, "worker_recovered", { took_ms: 60_000 })])).toHaveLength(1);
  });

  it("keeps faults apart that have a quiet time between them, newest first", () => {
    const told = stories([event(0, "member_joined"), event(10_000, "worker_failed"), event(11_000, "worker_recovered", { took_ms: 1_200 }), event(60_000, "worker_failed"), event(61_000, "worker_recovered", { took_ms: 1_000 })]);
    expect(told.map(({ fault, startMs }) => [fault, startMs])).toEqual([[true, 60_000], [true, 9_800], [false, 0]]);
  });

  it("takes a machine that was not needed as lost, not as a repair", () => {
    expect(stories([event(0, "member_suspect"), event(2_000, "member_dead")])[0]).toMatchObject({ resolved: true, outcome: "the ring went on" });
  });
});

describe("the ring's picture", () => {
  it("gives each rank an arc as long as its layers, clockwise from the top", () => {
    const parts = segments([10, 20]);
    expect(parts.map(({ to, from }) => Math.round(to - from))).toEqual([117, 233]);
    expect(parts[0]!.from).toBeLessThan(5);
    expect(segments([])).toEqual([]);
    expect(segments([30])).toHaveLength(1);
    expect(onCircle(90, 10)).toEqual({ x: 10, y: 0 });
    expect(arcPath({ from: 0, to: 270 }, 10)).toBe("M 0 -10 A 10 10 0 1 1 -10 0");
  });
});

it("speaks in people's numbers", () => {
  expect([0.5, 3.21, 456, 2_340, 45_000, 300_000].map(duration)).toEqual(["0.50 ms", "3.2 ms", "456 ms", "2.3 s", "45 s", "5 min"]);
  expect([ago(900), bytes(262_000_000), bytes(900), number(3), number(87.42), number(312.6)]).toEqual(["just now", "262 MB", "900 B", "3", "87.4", "313"]);
});

describe("the dashboard's files", () => {
  it("are served to anybody, under a policy that admits nothing foreign, and again only when they changed", async () => {
    const server = frontDoor(await smolModel(), new ScriptedGenerator(saying([])), {}, { loopbackNeedsKey: true });
    const page = await server.inject({ url: "/" });
    expect([page.statusCode, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    expect(page.headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'; /u);
    expect(page.headers["content-security-policy"]).not.toContain("unsafe");
    const again = await server.inject({ url: "/", headers: { "if-none-match": String(page.headers["etag"]) } });
    expect([again.statusCode, again.body]).toEqual([304, ""]);
    const zipped = await server.inject({ url: "/dashboard/style.css", headers: { "accept-encoding": "gzip, br" } });
    expect([zipped.statusCode, zipped.headers["content-encoding"]]).toEqual([200, "gzip"]);
    for (const url of ["/dashboard/../server.js", "/dashboard/%2e%2e%2fserver.js", "/dashboard/nothing.js", "/dashboard/tsconfig.json"]) expect((await server.inject({ url })).statusCode, url).toBeGreaterThanOrEqual(400);
    expect((await server.inject({ url: "/distributed/status" })).statusCode).toBe(401);
  });

  it("name no other server and have no inline script or style", async () => {
    const directory = new URL("../../../src/api/dashboard/", import.meta.url);
    const { readFileSync } = await import("node:fs");
    for (const file of readdirSync(directory)) {
      const text = readFileSync(new URL(file, directory), "utf8").replaceAll("http://www.w3.org/2000/svg", "");
      expect(text, file).not.toMatch(/https?:\/\//u);
      if (file.endsWith(".html")) expect(text).not.toMatch(/<script>|<style|\sstyle=|\son\w+=/u);
    }
  });
});

it("has a made-up story to look at that is of the agent's own shape", () => { expect(stories(storySnapshot(Date.now()).events).length).toBeGreaterThan(2); });
