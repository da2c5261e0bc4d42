/** What an overload run is judged by. */
import { describe, expect, it } from "vitest";
import type { OverloadReport, Sent } from "../../overload/overload.js";
import { judge } from "../../overload/report.js";

const answered = (atMs: number, more: Partial<Sent> = {}): Sent => ({ atMs, told: false, totalMs: 20_000, firstMs: 15_000, tokens: 24, code: "ok", retryAfterSeconds: undefined, ...more });
const refused = (atMs: number, more: Partial<Sent> = {}): Sent => answered(atMs, { totalMs: 5, tokens: 0, code: "queue_full", retryAfterSeconds: 7, ...more });

/** Two answers a second for ten minutes, and six refusals. */
function run(more: Partial<OverloadReport> = {}, extra: readonly Sent[] = []): OverloadReport {
  const seconds = Array.from({ length: 600 }, (_, second) => second * 1_000);
  return {
    options: { seed: 1, minutes: 10, nodes: 1, factor: 4, patient: 0.2, queueMax: 32, burners: 0 }, peaks: [50, 50], requestsPerSecond: 8, goodput: 48, wallMs: 600_000,
    sent: [...seconds.flatMap((at) => [answered(at), answered(at), ...Array.from({ length: 6 }, () => refused(at))]), ...extra],
    memory: seconds.filter((at) => at % 5_000 === 0).map((atMs) => ({ atMs, agent: 130 + (atMs % 7_000) / 1_000, worker: 300 })), restarts: 0, loads: [2, 2, 2], ...more,
  };
}

describe("an overload run", () => {
  it("is as it should be with nine tenths of the peak, bounded answers, flat memory and times that came true", () => {
    expect(judge(run({}, Array.from({ length: 20 }, (_, at) => answered(at, { told: true })))).failures).toEqual([]);
  });

  it.each([
    ["a goodput below nine tenths of the peak", run({ goodput: 44 }), "goodput"],
    ["answers that take longer than their line explains", run({}, Array.from({ length: 100 }, (_, at) => answered(at, { totalMs: 300_000 }))), "99 %"],
    ["other failures", run({}, [answered(1, { code: "engine_failed", tokens: 0 })]), "engine_failed"],
    ["a refusal that says no time", run({}, [refused(1, { retryAfterSeconds: undefined })]), "without Retry-After"],
    ["times that did not come true", run({}, Array.from({ length: 20 }, (_, at) => refused(at, { told: at % 4 === 0 })).filter(({ told }) => told)), "waited as told"],
    ["a worker that was restarted though nobody broke it", run({ restarts: 1 }), "nobody had broken"],
    ["an agent that grows", run({ memory: Array.from({ length: 120 }, (_, look) => ({ atMs: look * 5_000, agent: 130 + look, worker: 300 })) }), "agent grows"],
  ])("fails with %s", (_what, report, why) => {
    expect(judge(report).failures.join()).toContain(why);
  });
});
