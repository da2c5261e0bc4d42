// `npm run overload -- --minutes N [--nodes 1] [--factor 4] [--patient 0.2] [--queue-max 32] [--seed S] [--report FILE]`: more than a cluster can do, and what becomes of those it does.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compile, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  minutes: { type: "string" }, nodes: { type: "string" }, factor: { type: "string" }, patient: { type: "string" }, "queue-max": { type: "string" }, seed: { type: "string" }, report: { type: "string" },
} });

compile();
const { runOverload } = await tool("overload/overload.js");
const { judge } = await tool("overload/report.js");

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => stop.abort());

const report = await runOverload({
  signal: stop.signal,
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  minutes: Number(values.minutes ?? 10),
  nodes: Number(values.nodes ?? 1),
  factor: Number(values.factor ?? 4),
  patient: Number(values.patient ?? 0.2),
  queueMax: Number(values["queue-max"] ?? 32),
  onLine: (line) => console.log(line),
});
const { lines, failures } = judge(report);
console.log(lines.join("\n"));
if (values.report !== undefined) writeFileSync(values.report, JSON.stringify(report, undefined, 2));
process.exitCode = failures.length === 0 ? 0 : 1;
