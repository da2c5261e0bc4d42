/** What is shipped for Prometheus and Grafana: well-formed, and about metrics that exist. That it works on a real cluster is `npm run test:ops`. */
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { metricsTargets } from "../../../src/api/metrics-targets.js";
import { grafanaJson } from "../../../scripts/grafana.js";
import { device, snapshot } from "../daemon/telemetry/make.js";

const ops = fileURLToPath(new URL("../../../ops/", import.meta.url));
const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
const promtool = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: ops, encoding: "utf8" });
  return { status, output: stdout + stderr };
};

describe.skipIf(!hasPromtool)("the shipped Prometheus files (skipped without promtool)", () => {
  it("are a valid configuration and valid rules", () => { expect(promtool("check", "config", "prometheus.yml")).toMatchObject({ status: 0 }); });
  it("fire for their faults, clear after them, and stay still through a repair", () => {
    const { status, output } = promtool("test", "rules", "minid.test.yml");
    expect(status, output).toBe(0);
  });
});

describe("what is shipped for monitoring", () => {
  it("has the Grafana dashboard that scripts/grafana.ts describes (npm run docs)", () => {
    expect(readFileSync(join(ops, "grafana", "minid.json"), "utf8")).toBe(grafanaJson());
  });

  it("asks only for metrics that exist", () => {
    const documented = readFileSync(join(ops, "..", "docs", "METRICS.md"), "utf8");
    const files = [...readdirSync(ops).filter((file) => /^minid\.(?:rules|alerts)\.yml$/u.test(file)), join("grafana", "minid.json")];
    const asked = new Set(files.flatMap((file) => [...readFileSync(join(ops, file), "utf8").matchAll(/\bminid_[a-z_]+/gu)].map(([name]) => name.replace(/_(?:bucket|sum|count)$/u, ""))));
    expect(asked.size).toBeGreaterThan(20);
    expect([...asked].filter((name) => !name.startsWith("minid_agent_") && !documented.includes(`\`${name}\``))).toEqual([]);
  });

  it("tests every alert", () => {
    const alerts = [...readFileSync(join(ops, "minid.alerts.yml"), "utf8").matchAll(/alert: (\w+)/gu)].map((match) => match[1]!);
    const tests = readFileSync(join(ops, "minid.test.yml"), "utf8");
    expect(alerts.filter((name) => !tests.includes(`alertname: ${name}`))).toEqual([]);
  });
});

describe("the service-discovery document", () => {
  const status = snapshot({ devices: [
    device("mini1", { self: true, role: "coordinator" }),
    device("mini2", { rank: null, addresses: ["10.0.0.2:50050", "mini2.local:50050"], status: "dead" }),
    device("mini3", { addresses: ["[fd00::3]:50050"] }),
    device("mini4", { status: "left" }),
    device("mini5", { addresses: [] }),
  ] });

  it("names every member once, dead ones too, those that left not", () => {
    expect(metricsTargets(status, "::ffff:10.0.0.1").map(({ targets, labels }) => [targets, labels["device_id"]])).toEqual([
      [["10.0.0.1:8100"], "mini1"], [["10.0.0.2:8100"], "mini2"], [["[fd00::3]:8100"], "mini3"],
    ]);
  });

  it("labels them with what alerts speak of, and tells the rest as meta labels of strings", () => {
    const [first] = metricsTargets(status, "fd00::1");
    expect(first).toEqual({ targets: ["[fd00::1]:8100"], labels: {
      cluster: "home", device_id: "mini1",
      __meta_minid_node_id: "mini1-id", __meta_minid_role: "coordinator", __meta_minid_rank: "0", __meta_minid_status: "healthy", __meta_minid_version: "0.1.0",
    } });
  });
});
