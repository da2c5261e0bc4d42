// `npm run reattach -- [--seed N] [--trials N] [--nodes N] [--streams N] [--minutes M] [--report FILE]`: kills the node whose front door streams, and follows docs/API.md's retry.
import { parseArgs } from "node:util";
import { compile, conclude, tool } from "./tools.mjs";

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
conclude({ lines: reattachLines(report), report, file: values.report, failed: report.trials.some(({ differences }) => differences.length > 0) });
