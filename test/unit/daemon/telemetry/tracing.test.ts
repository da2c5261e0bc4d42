/** Traces as a collector receives them over HTTP. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import { silentLog } from "../../../../src/core/log.js";
import { parse, partsOf, startTracing } from "../../../../src/daemon/telemetry/tracing.js";
import { Collector } from "../../../support/collector.js";

const step = { computeMs: 6, ringMs: 14, durationMs: 20, worldSize: 3, times: [{ rank: 1, computeMs: 3, heldMs: 4 }, { rank: 2, computeMs: 3, heldMs: 4 }] };
const outcome = { requestId: "r1", code: "ok", promptTokens: 7, completionTokens: 2 };

describe("traces", () => {
  let collector: Collector;
  beforeEach(async () => { collector = await Collector.start(); });
  afterEach(async () => { await collector.stop(); });
  const tracing = (own = {}) => startTracing({ endpoint: collector.endpoint, sampleRatio: 1, deviceId: "mini1", version: "0.1.0", clock: systemClock, log: silentLog, ...own });

  it("are a request, its steps, and in each step the ranks and hops, in the client's own trace", async () => {
    const sut = await tracing();
    const client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const context = sut.begin({ endpoint: "chat.completions", requestId: "r1", traceparent: client });
    expect(context).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/u);
    sut.step(step, [context!]);
    sut.firstToken("r1");
    sut.recovered({ cause: "stage_lost", detectMs: 10, waitMs: 20, replayMs: 5, attempts: 1, replayedTokens: 4 }, "r1");
    sut.finish(outcome);
    await sut.stop();

    expect([...collector.requests]).toEqual(["POST /v1/traces application/json"]);
    const { spans } = collector;
    const [request] = spans.filter(({ name }) => name === "chat.completions");
    expect(request).toMatchObject({ traceId: "0af7651916cd43dd8448eb211c80319c", parentSpanId: "b7ad6b7169203331", from: "mini1", failed: false, events: ["first token"], attributes: { "minid.request_id": "r1", "gen_ai.usage.output_tokens": 2 } });
    const [whole] = spans.filter(({ name }) => name === "step");
    expect(whole?.parentSpanId).toBe(request?.spanId);
    const parts = spans.filter(({ parentSpanId }) => parentSpanId === whole?.spanId).sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
    expect(parts.map(({ name, attributes }) => `${name} ${String(attributes["minid.rank"])}`)).toEqual(["compute 0", "hop 1", "compute 1", "hop 2", "compute 2", "hop 0"]);
    expect(parts.every(({ startMs, endMs }) => startMs >= whole!.startMs - 0.01 && endMs <= whole!.endMs + 0.01)).toBe(true);
    expect(spans.find(({ name }) => name === "moved on")).toMatchObject({ parentSpanId: request?.spanId, attributes: { "minid.replayed_tokens": 4 } });
  });

  it("mark what failed, and are bounded for each sequence", async () => {
    const sut = await tracing();
    const context = sut.begin({ endpoint: "completions", requestId: "r1", traceparent: undefined })!;
    for (let count = 0; count < 400; count += 1) sut.step({ ...step, worldSize: 1, times: [] }, [context]);
    sut.finish({ ...outcome, code: "stage_lost" });
    await sut.stop();
    expect(collector.spans.find(({ name }) => name === "completions")).toMatchObject({ failed: true, attributes: { "minid.code": "stage_lost" } });
    expect(collector.spans.filter(({ name }) => name === "step")).toHaveLength(256);
  });

  it("are made of no request that was not chosen: by the ratio, by the client", async () => {
    const sut = await tracing({ sampleRatio: 0 });
    expect(sut.begin({ endpoint: "completions", requestId: "r1", traceparent: undefined })).toBeUndefined();
    expect(sut.begin({ endpoint: "completions", requestId: "r2", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" })).toBeUndefined();
    expect(sut.begin({ endpoint: "completions", requestId: "r3", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" })).toBeDefined();
    sut.step(step, ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "nonsense"]);
    for (const requestId of ["r1", "r2", "r3"]) sut.finish({ ...outcome, requestId });
    await sut.stop();
    expect(collector.spans.map(({ attributes }) => attributes["minid.request_id"])).toEqual(["r3"]);
  });

  it("that nobody takes are dropped, and said so once", async () => {
    const complaints: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, message: string) => { complaints.push(message); } };
    const sut = await tracing({ endpoint: "http://127.0.0.1:9", log });
    for (const requestId of ["r1", "r2"]) { sut.begin({ endpoint: "completions", requestId, traceparent: undefined }); sut.finish({ ...outcome, requestId }); }
    await sut.stop().catch(() => undefined);
    expect(complaints).toEqual(["traces could not be delivered"]);
  }, 60_000);
});

describe("the parts of a step", () => {
  it("are rank 0's own arithmetic where there is one rank, or where a rank does not tell", () => {
    expect(partsOf({ ...step, worldSize: 1, times: [] })).toEqual([{ name: "compute", rank: 0, from: 0, to: 6 }]);
    expect(partsOf({ ...step, times: [] })).toHaveLength(1);
  });
  it("fill the step without overlap", () => {
    expect(partsOf(step).map(({ from, to }) => [from, to])).toEqual([[0, 6], [6, 8], [8, 12], [12, 14], [14, 18], [18, 20]]);
  });
});

it("takes a context only in the form that the standard gives it", () => {
  expect(parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")).toMatchObject({ traceFlags: 1, isRemote: true });
  for (const wrong of [undefined, "", "00-0af7-b7ad-01", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"]) expect(parse(wrong)).toBeUndefined();
});
