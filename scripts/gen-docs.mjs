// Writes the reference pages that follow from tables in the source: docs/CONFIG.md, docs/METRICS.md and the man page. Run after `npm run build`.
import { writeFileSync } from "node:fs";
import { packageVersion } from "../dist/core/package-info.js";
import { commandTable } from "../dist/cli/reference/command-table.js";
import { manPage } from "../dist/cli/reference/man-page.js";
import { Metrics } from "../dist/daemon/metrics.js";
import { environmentName, flagName, settingKeys, table } from "../dist/daemon/config/table.js";

const cell = (text) => String(text).replaceAll("|", "\\|");
const defaultOf = (key) => {
  if (key === "device_id") return "host name";
  const parsed = table[key].schema.safeParse(undefined);
  return parsed.success && parsed.data !== undefined ? `\`${JSON.stringify(parsed.data)}\`` : "";
};

writeFileSync("docs/CONFIG.md", `# Configuration
Generated from \`src/daemon/config/table.ts\` by \`npm run docs\`.

One JSON file: \`--config FILE\`, else \`$DISTRIBUTED_CONFIG\`, else \`<home>/config.json\` (which need not exist). Every key can also be set in
the environment or by a flag; flags win over the environment, the environment over the file. Unknown keys are refused by name.
\`LOCAL_RANK\` in the environment is read as \`local_rank\`. The home is \`--home\`, else \`$MINID_HOME\`, else \`~/.minid\`.

| key | default | unit | environment | flag | meaning |
|---|---|---|---|---|---|
${settingKeys.map((key) => `| \`${key}\` | ${cell(defaultOf(key))} | ${table[key].unit ?? ""} | \`${environmentName(key)}\` | \`--${flagName(key)}\` | ${cell(table[key].doc)} |`).join("\n")}

A device of \`devices\`: \`{"device_id": "mini2", "hostname": "mini2.local", "port": 50051, "agent_port": 50050, "local_rank": 1}\`; \`port\` is the worker's.
`);

const metrics = new Metrics({}).registry.getMetricsAsArray();
const ours = metrics.filter((metric) => !metric.name.startsWith("minid_agent_"));
writeFileSync("docs/METRICS.md", `# Metrics
Generated from \`src/daemon/metrics.ts\` and \`src/daemon/telemetry\` by \`npm run docs\`. \`GET /metrics\` in Prometheus' text format; units are in the names: seconds and bytes.
The agent process's own (CPU, memory, event loop) are there too, as prom-client's default metrics with the prefix \`minid_agent_\`.

| metric | kind | labels | meaning |
|---|---|---|---|
${ours.map((metric) => `| \`${metric.name}\` | ${metric.type} | ${metric.labelNames.join(", ")} | ${cell(metric.help)} |`).join("\n")}
`);

writeFileSync("docs/minid.1", manPage(await commandTable(), packageVersion()));
