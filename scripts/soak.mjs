// `npm run soak -- --minutes N [--nodes 3] [--faults-every 30] [--seed S] [--streams 4] [--sample-every 10] [--report FILE]`: what grows while a cluster answers under faults?
import { parseArgs } from "node:util";
import { compile, conclude, interruption, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  minutes: { type: "string" }, nodes: { type: "string" }, "faults-every": { type: "string" }, seed: { type: "string" },
  streams: { type: "string" }, "sample-every": { type: "string" }, report: { type: "string" },
} });

compile();
const { runSoak } = await tool("soak/soak.js");
const { rowLines } = await tool("soak/verdicts.js");
const { reportLines } = await tool("chaos/report.js");

const report = await runSoak({
  signal: interruption(),
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  minutes: Number(values.minutes ?? 60),
  nodes: Number(values.nodes ?? 3),
  streams: Number(values.streams ?? 4),
  faultsEverySeconds: Number(values["faults-every"] ?? 30),
  sampleEverySeconds: Number(values["sample-every"] ?? 10),
  onLine: (line) => console.log(line),
});
const lines = [...reportLines(report.chaos), "", "the second half of the run:", ...rowLines(report.rows), "", report.failures.length === 0 ? "soak: nothing grows, no answer was wrong" : `soak: ${report.failures.length} failures`, ...report.failures.map((failure) => `  ${failure}`)];
conclude({ lines, report, file: values.report, failed: report.failures.length > 0 });
