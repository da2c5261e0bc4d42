// `npm run reattach -- [--seed N] [--trials N] [--nodes N] [--streams N] [--minutes M] [--report FILE]`: kills the node whose front door streams, and follows docs/API.md's retry.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compile, tool } from "./tools.mjs";

const { values } = parseArgs({ options: { seed: { type: "string" }, trials: { type: "string" }, nodes: { type: "string" }, streams: { type: "string" }, minutes: { type: "string" }, report: { type: "string" } } });

compile();
const { reattachLines, runReattach } = await tool("chaos/reattach.js");
const report = await runReattach({
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  trials: Number(values.trials ?? 100),
  nodes: Number(values.nodes ?? 3),
  streams: Number(values.streams ?? 1),
  minutesMax: Number(values.minutes ?? 60),
  onLine: (line) => console.log(line),
});
console.log(reattachLines(report).join("\n"));
if (values.report !== undefined) writeFileSync(values.report, JSON.stringify(report, undefined, 2));
process.exitCode = report.trials.some(({ differences }) => differences.length > 0) ? 1 : 0;
