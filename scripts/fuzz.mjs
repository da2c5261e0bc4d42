// `npm run fuzz -- [--surface NAME,NAME] [--seed N] [--cases M] [--share 0.1] [--case INDEX] [--report FILE]`: hostile input for everything that takes any. `--list` names the surfaces.
import { parseArgs } from "node:util";
import { compile, conclude, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  surface: { type: "string" }, seed: { type: "string" }, cases: { type: "string" }, share: { type: "string" }, case: { type: "string" }, report: { type: "string" }, list: { type: "boolean" },
} });

compile();
const { fuzz, fuzzLines } = await tool("fuzz/fuzz.js");
const { surfaceNamed, surfaces } = await tool("fuzz/surfaces.js");
if (values.list) {
  for (const { name, cases, about } of surfaces) console.log(`${name.padEnd(20)} ${String(cases).padStart(9)}  ${about}`);
  process.exit(0);
}
const chosen = values.surface === undefined ? surfaces : values.surface.split(",").map(surfaceNamed);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
console.log(`fuzz: seed ${seed}`);
const one = values.case !== undefined;
const report = await fuzz(chosen, {
  seed,
  first: one ? Number(values.case) : 0,
  casesOf: (surface) => (one ? 1 : Number(values.cases ?? Math.ceil(surface.cases * Number(values.share ?? 1)))),
  onLine: (line) => console.log(line),
});
conclude({ lines: ["", ...fuzzLines(report)], report, file: values.report, failed: report.surfaces.some(({ faults }) => faults.length > 0) });
// Whatever a surface left running.
process.exit();
