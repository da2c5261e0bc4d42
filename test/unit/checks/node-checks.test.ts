import { describe, expect, it } from "vitest";
import { type Finding, runChecks } from "../../../src/checks/check.js";
import { homeChecks } from "../../../src/checks/home-checks.js";
import type { NodeLook, ProcessLook } from "../../../src/checks/node-facts.js";
import { processChecks } from "../../../src/checks/process-checks.js";

const dayMs = 86_400_000;
const nowWallMs = Date.UTC(2026, 10, 25);
const running = (pid: number): ProcessLook => ({ state: "running", pid, answers: undefined, lastEnd: undefined, endsLately: 0, lastWords: "" });
const gone: ProcessLook = { ...running(0), state: "gone", pid: undefined };

const well: NodeLook = {
  nowWallMs,
  home: { path: "/home/m/.minid", state: "ok", open: [], damaged: [], setAside: [] },
  configProblem: undefined,
  trust: { problem: undefined, founded: true, certificate: { fromMs: nowWallMs - dayMs, toMs: nowWallMs + 20 * dayMs } },
  logDisk: undefined, openFilesMax: 65_536, ports: { http: 8_100, agent: 50_050, worker: 50_051 },
  pm2: running(10), agent: { ...running(11), answers: true }, worker: running(12),
  model: { id: "org/model", problem: undefined },
  stage: { rank: 1, layers: [10, 20], bytesMax: 4 * 2 ** 30, workerRssBytes: 2 * 2 ** 30, availableBytes: 6 * 2 ** 30 },
  pace: { swappedPagesPerSecond: 0, throttled: undefined }, refused: [], version: { running: "0.1.0", installed: "0.1.0" },
};

const found = (look: NodeLook): Finding[] => runChecks([...processChecks, ...homeChecks], look).filter(({ severity }) => severity !== "ok");
const codes = (change: Partial<NodeLook>): string[] => found({ ...well, ...change }).map(({ severity, code }) => `${severity} ${code}`);
const seenOf = (change: Partial<NodeLook>): string => found({ ...well, ...change })[0]?.seen ?? "";

describe("a node's checks", () => {
  it("find nothing wrong with a node that is well", () => { expect(found(well)).toEqual([]); });

  it.each<[string, Partial<NodeLook>, string[]]>([
    ["nothing runs", { pm2: gone, agent: gone, worker: gone }, ["error agent_down"]],
    ["only pm2 runs", { agent: gone, worker: gone }, ["error agent_down", "error worker_down"]],
    ["the agent is halted", { agent: { ...running(11), state: "stopped", answers: false } }, ["error agent_hung"]],
    ["the agent says nothing", { agent: { ...running(11), answers: false } }, ["error agent_hung"]],
    ["the worker is halted", { worker: { ...running(12), state: "stopped" } }, ["error worker_hung"]],
    ["no pm2", { pm2: gone }, ["warning supervisor_down"]],
    ["the agent ends again and again", { agent: { ...gone, endsLately: 5, lastWords: "port_in_use: taken" } }, ["error agent_down", "error agent_crash_loop"]],
    ["another release is installed", { version: { running: "0.1.0", installed: "0.2.0" } }, ["warning restart_needed"]],
    ["a forgotten machine calls", { refused: [{ device: "mini9", address: "10.0.0.9", count: 3, agoMs: 1_000 }] }, ["warning forgotten_still_trying"]],
    ["no home", { home: { ...well.home, state: "missing" }, agent: gone, worker: gone, pm2: gone }, ["error home_unusable"]],
    ["a home of another user", { home: { ...well.home, state: "foreign" } }, ["error home_unusable"]],
    ["a home for everybody", { home: { ...well.home, open: [". (mode 755)"] } }, ["warning home_permissions"]],
    ["a damaged record", { home: { ...well.home, damaged: ["cluster-state.json is damaged"] } }, ["error state_damaged"]],
    ["a record moved aside", { home: { ...well.home, setAside: ["worker-epoch.json.damaged"] } }, ["warning state_set_aside"]],
    ["an invalid setting", { configProblem: "config_invalid: unknown key" }, ["error config_invalid"]],
    ["no cluster", { trust: { ...well.trust, founded: false, problem: undefined, certificate: undefined } }, ["error no_cluster"]],
    ["keys that do not belong together", { trust: { ...well.trust, problem: "node.key does not belong to node.pem" } }, ["error trust_damaged"]],
    ["a certificate of the past", { trust: { ...well.trust, certificate: { fromMs: nowWallMs - 31 * dayMs, toMs: nowWallMs - dayMs } } }, ["error certificate_expired"]],
    ["a certificate of the future", { trust: { ...well.trust, certificate: { fromMs: nowWallMs + dayMs, toMs: nowWallMs + 30 * dayMs } } }, ["error certificate_expired"]],
    ["a certificate about to expire", { trust: { ...well.trust, certificate: { fromMs: nowWallMs - 27 * dayMs, toMs: nowWallMs + 3 * dayMs } } }, ["warning certificate_expiring"]],
    ["a full log disk", { logDisk: { path: "/logs", freeBytes: 1_000, totalBytes: 1 << 30 } }, ["warning log_disk_full"]],
    ["few open files", { openFilesMax: 256 }, ["warning open_files_low"]],
    ["no model", { model: { id: "x", problem: { code: "model_missing", text: "not found" } } }, ["error model_missing"]],
    ["a damaged model", { model: { id: "x", problem: { code: "model_corrupt", text: "truncated" } } }, ["error model_corrupt"]],
    ["memory taken by others", { stage: { ...well.stage!, availableBytes: 1 << 30 } }, ["warning memory_short"]],
    ["swapping", { pace: { swappedPagesPerSecond: 9_000, throttled: undefined } }, ["warning swapping"]],
    ["heat", { pace: { swappedPagesPerSecond: undefined, throttled: "the kernel cools Processor down: step 3 of 10" } }, ["warning thermal_throttling"]],
  ])("%s", (_, change, expected) => { expect(codes(change)).toEqual(expected); });

  it("tell the failure that minid was made for in one line, with the worker's last end", () => {
    expect(seenOf({ worker: { ...gone, lastEnd: { agoMs: 40_000, how: "exit code 1" }, lastWords: "port_in_use: 0.0.0.0:50051 is in use" } }))
      .toBe("port 50051 is refused because no worker runs here; it last ended 40 s ago (exit code 1): port_in_use: 0.0.0.0:50051 is in use");
  });
});
