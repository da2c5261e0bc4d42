// `npm run test:schemas -- [--seed N] [--count 500] [--killed 50] [--at-once 10] [--max-tokens 200] [--nodes 2] [--report FILE]`
import { parseArgs } from "node:util";
import { compile, conclude, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  seed: { type: "string" }, count: { type: "string" }, killed: { type: "string" }, "at-once": { type: "string" }, "max-tokens": { type: "string" }, nodes: { type: "string" }, report: { type: "string" },
} });

compile();
const { runSchemas, schemasLines } = await tool("schemas/run.js");
const report = await runSchemas({
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  count: Number(values.count ?? 500),
  killed: Number(values.killed ?? 50),
  atOnce: Number(values["at-once"] ?? 10),
  maxTokens: Number(values["max-tokens"] ?? 200),
  nodes: Number(values.nodes ?? 2),
  onLine: (line) => console.log(line),
});
conclude({ lines: schemasLines(report), report, file: values.report, failed: report.failures.length > 0 || report.disturbed < report.options.killed });
