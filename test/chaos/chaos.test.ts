/** The short chaos run of every test run; `npm run chaos -- --seed N --minutes M` is the long one. */
import { expect, it } from "vitest";
import { questions } from "./questions.js";
import { reportLines } from "./report.js";
import { runChaos } from "./run.js";

const timeoutMs = 600_000;

it("two nodes under concurrent streams: whatever is killed, every answer is the undisturbed one", async () => {
  const lines: string[] = [];
  const report = await runChaos({
    seed: 20_261_123, nodes: 2, streams: 2, faultsMax: 4, minutesMax: 3, pauseMs: [500, 2_500], settings: { threads: 1 },
    kinds: ["worker-kill", "agent-kill", "worker-pause", "node-kill"],
    // A greedy answer and a sampled one with penalties, both behind prompts of several chunks.
    questions: [questions[3]!, questions[4]!],
    onLine: (line) => lines.push(line),
  });
  expect(report.failures, [...lines, ...reportLines(report)].join("\n")).toEqual([]);
  expect(report.faults.length).toBe(4);
  expect(report.completed).toBeGreaterThan(0);
}, timeoutMs);
