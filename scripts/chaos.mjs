// `npm run chaos -- --seed N [--minutes M] [--nodes N] [--streams N] [--network] [--disks] [--faults a,b] [--count N] [--pause LOW,HIGH] [--threads N] [--root CHECKOUT] [--report FILE]`
import { parseArgs } from "node:util";
import { compile, conclude, interruption, tool } from "./tools.mjs";

const { values } = parseArgs({ options: {
  network: { type: "boolean", default: false }, disks: { type: "boolean", default: false },
  seed: { type: "string" }, minutes: { type: "string" }, nodes: { type: "string" }, streams: { type: "string" },
  faults: { type: "string" }, count: { type: "string" }, pause: { type: "string" }, threads: { type: "string" }, root: { type: "string" }, report: { type: "string" },
} });

compile();
const { runChaos } = await tool("chaos/run.js");
const { reportLines } = await tool("chaos/report.js");
const { diskFaultNames, faultNames, linkFaultNames } = await tool("chaos/faults.js");

// --network puts every node into a network namespace of its own, --disks gives it a small disk (both: Linux, root): then links and disks fail too.
const possible = [...faultNames, ...(values.network ? linkFaultNames : []), ...(values.disks ? diskFaultNames : [])];
const kinds = values.faults?.split(",") ?? possible;
const unknown = kinds.find((name) => !possible.includes(name));
if (unknown !== undefined) throw new Error(`--faults: there is no ${unknown}; there are ${possible.join(", ")}`);

const report = await runChaos({
  signal: interruption(),
  seed: Number(values.seed ?? Date.now() % 1_000_000),
  minutesMax: Number(values.minutes ?? (values.count === undefined ? 5 : 60)),
  faultsMax: Number(values.count ?? Number.MAX_SAFE_INTEGER),
  nodes: Number(values.nodes ?? 3),
  streams: Number(values.streams ?? 4),
  kinds,
  network: values.network,
  ownDisks: values.disks,
  ...(values.pause === undefined ? {} : { pauseMs: values.pause.split(",").map(Number) }),
  ...(values.root === undefined ? {} : { root: values.root }),
  settings: { threads: Number(values.threads ?? 1), "log-level": "info" },
  onLine: (line) => console.log(line),
});
const lines = reportLines(report);
conclude({ lines, report, file: values.report, failed: report.failures.length > 0 });
