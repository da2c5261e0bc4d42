/** A few kills of every test run; `npm run reattach -- --trials 100` is the long one. */
import { expect, it } from "vitest";
import { reattachLines, runReattach } from "./reattach.js";

it("a stream with an Idempotency-Key goes on at another node, event for event, when its own node is killed", async () => {
  const lines: string[] = [];
  const report = await runReattach({ seed: Math.floor(Math.random() * 2 ** 31), nodes: 2, trials: 1, streams: 1, minutesMax: 3, onLine: (line) => lines.push(line) });
  expect(report.trials.flatMap(({ differences }) => differences), [...lines, ...reattachLines(report)].join("\n")).toEqual([]);
  expect(report.trials.filter(({ early }) => !early).length).toBeGreaterThan(0);
}, 600_000);
