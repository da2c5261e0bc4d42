/** What a scrape shows, in both formats, judged by Prometheus' own tool where it is installed. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { ProbeReply } from "../../../../src/core/worker-protocol.js";
import { Metrics, hopMs } from "../../../../src/daemon/metrics.js";
import { probe, scheduler, snapshot } from "./make.js";

const openMetrics = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;

function metrics(options: { vllm?: boolean; worker?: () => ProbeReply | undefined } = {}): Metrics {
  const made = new Metrics({ status: () => snapshot(), worker: options.worker ?? (() => probe()), scheduler: () => scheduler, queueMax: 256 }, { vllm: options.vllm ?? false });
  made.firstToken(0.2, "req-1");
  made.interToken(0.01);
  made.finished({ endpoint: "chat.completions", requestId: "req-1", code: "ok", seconds: 1.2, firstTokenSeconds: 0.2, promptTokens: 12, completionTokens: 21, reasons: ["stop"] });
  made.step({ computeMs: 4, ringMs: 10, times: [{ rank: 1, computeMs: 3, heldMs: 4 }, { rank: 2, computeMs: 2, heldMs: 3 }] }, 3);
  made.answerRecovered({ cause: "stage_lost", detectMs: 100, waitMs: 400, replayMs: 50, attempts: 2, replayedTokens: 9 }, "req-1");
  return made;
}

const value = (body: string, series: string): number | undefined => {
  const line = body.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.split(" ")[1]);
};

describe("a scrape", () => {
  it("shows agent, cluster and worker in Prometheus' format", async () => {
    const { contentType, body } = await metrics().expose(undefined);
    expect(contentType).toContain("text/plain");
    expect(value(body, "minid_requests_waiting")).toBe(3);
    expect(value(body, "minid_kv_use_ratio")).toBe(0.25);
    expect(value(body, "minid_members_dead")).toBe(1);
    expect(value(body, `minid_role{role="leader"}`)).toBe(1);
    expect(value(body, `minid_condition{code="member_dead",severity="error",device_id="mini3"}`)).toBe(1);
    expect(value(body, "minid_decoded_tokens_total")).toBe(40);
    expect(value(body, "minid_worker_cpu_seconds_total")).toBe(1.5);
    expect(value(body, `minid_worker_engine_seconds_bucket{le="0.0005"}`)).toBe(3);
    expect(value(body, `minid_worker_engine_seconds_bucket{le="+Inf"}`)).toBe(6);
    expect(value(body, "minid_worker_engine_seconds_sum")).toBe(0.25);
    expect(value(body, "minid_hop_seconds_sum")).toBeCloseTo(0.001);
    expect(value(body, "minid_time_per_output_token_seconds_sum")).toBeCloseTo(0.05);
  });

  it("shows every series about faults from the start, so that increase() sees the first fault of a kind", async () => {
    const made = metrics();
    const before = (await made.expose(undefined)).body;
    for (const series of [`minid_worker_restarts_total{reason="died"}`, `minid_elections_total{cause="leader_dead"}`, `minid_member_changes_total{to="dead"}`, `minid_recovery_seconds_count{cause="worker_restart",phase="total"}`, `minid_recovery_seconds_bucket{le="0.5",cause="leader_dead",phase="elect"}`]) expect(value(before, series), series).toBe(0);
    made.supervisorEvent({ kind: "recovery", phase: "total", tookMs: 400 });
    made.supervisorEvent({ kind: "restarted", reason: "died", incarnation: "b" });
    const after = (await made.expose(undefined)).body;
    const names = (text: string) => text.split("\n").filter((line) => /^minid_(?:recovery|worker_restarts|elections|member_changes)/u.test(line)).map((line) => line.slice(0, line.lastIndexOf(" ")));
    expect(names(after)).toEqual(names(before));
    expect(value(after, `minid_recovery_seconds_count{cause="worker_restart",phase="total"}`)).toBe(1);
  });

  it("carries request ids as exemplars in OpenMetrics, and the other format is the same afterwards", async () => {
    const made = metrics();
    const before = await made.expose("text/plain");
    const { contentType, body } = await made.expose(openMetrics);
    expect(contentType).toContain("openmetrics");
    expect(body.endsWith("# EOF\n")).toBe(true);
    expect(body.match(/# EOF/gu)).toHaveLength(1);
    expect(body).toMatch(/minid_time_to_first_token_seconds_bucket\{le="0.25"\} 1 # \{request_id="req-1"\} 0.2 /u);
    expect(body).toContain("# TYPE minid_requests counter");
    expect(value(body, "minid_decoded_tokens_total")).toBe(40);
    const names = (text: string) => [...text.matchAll(/^# TYPE (\S+)/gmu)].map((match) => match[1]);
    expect(names((await made.expose("text/plain")).body)).toEqual(names(before.body));
  });

  it("shows vLLM's names only when asked, with vLLM's labels", async () => {
    expect((await metrics().expose(undefined)).body).not.toContain("vllm:");
    for (const accept of [undefined, openMetrics]) {
      const { body } = await metrics({ vllm: true }).expose(accept);
      const labels = `model_name="Smol",engine="0"`;
      expect(value(body, `vllm:num_requests_waiting{${labels}}`)).toBe(3);
      expect(value(body, `vllm:generation_tokens_total{${labels}}`)).toBe(40);
      expect(value(body, `vllm:prefix_cache_queries_total{${labels}}`)).toBe(160);
      expect(value(body, `vllm:request_success_total{finished_reason="stop",${labels}}`)).toBe(1);
      expect(body).toMatch(/vllm:time_to_first_token_seconds_bucket\{(?=[^}]*le="0.25")(?=[^}]*model_name="Smol")[^}]*\} 1/u);
      expect(body).toMatch(/^minid_requests_waiting 3$/mu);
    }
  });

  it("has no numbers of a worker that does not answer", async () => {
    const { body } = await metrics({ worker: () => undefined }).expose(undefined);
    expect(body).not.toContain("minid_worker_engine_seconds_bucket");
    expect(value(body, "minid_worker_resident_bytes")).toBe(0);
  });

  it.skipIf(!hasPromtool)("satisfies promtool check metrics (skipped without promtool)", async () => {
    const { body } = await metrics().expose(undefined);
    const checked = spawnSync("promtool", ["check", "metrics"], { input: body, encoding: "utf8" });
    // Names of prom-client's own defaults are not ours to choose.
    const ours = checked.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("minid_agent_"));
    expect(ours).toEqual([]);
  });
});

describe("the time of a hop", () => {
  const step = { computeMs: 1, ringMs: 10, times: [{ rank: 1, computeMs: 3, heldMs: 4 }] };
  it("is what nobody held the frame for, divided by the hops", () => { expect(hopMs(step, 2)).toBe(3); });
  it("is unknown while a rank does not tell, or tells nonsense", () => {
    expect(hopMs(step, 3)).toBeUndefined();
    expect(hopMs({ ...step, times: [] }, 1)).toBeUndefined();
    expect(hopMs({ ...step, times: [{ rank: 1, computeMs: NaN, heldMs: NaN }] }, 2)).toBeUndefined();
    expect(hopMs({ ...step, times: [{ rank: 1, computeMs: 50, heldMs: 50 }] }, 2)).toBe(0);
  });
});
