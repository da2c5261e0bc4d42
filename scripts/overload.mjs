// `npm run overload -- --minutes N [--nodes 1] [--factor 4] [--patient 0.2] [--queue-max 32] [--burners 0] [--seed S] [--report FILE]`: more than a cluster can do, and what becomes of those it does.
import { parseArgs } from "node:util";
import { compile, conclude, interruption, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  minutes: { type: "string" }, nodes: { type: "string" }, factor: { type: "string" }, patient: { type: "string" }, "queue-max": { type: "string" }, burners: { type: "string" }, seed: { type: "string" }, report: { type: "string" },
} });

compile();
const { runOverload } = await tool("overload/overload.js");
const { judge } = await tool("overload/report.js");

const report = await runOverload({
  signal: interruption(),
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  minutes: Number(values.minutes ?? 10),
  nodes: Number(values.nodes ?? 1),
  factor: Number(values.factor ?? 4),
  patient: Number(values.patient ?? 0.2),
  queueMax: Number(values["queue-max"] ?? 32),
  burners: Number(values.burners ?? 0),
  onLine: (line) => console.log(line),
});
const { lines, failures } = judge(report);
conclude({ lines, report, file: values.report, failed: failures.length > 0 });
