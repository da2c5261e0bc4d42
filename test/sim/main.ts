/** `npm run sim -- [--seed N] [--runs M] [--seconds S] [--streams] [--trace] [--no-shrink] [--keep]`: runs seeds N … N+M-1, or as many as S seconds allow, with answers streaming through them if wished; a failing one is printed, shrunk and traced. */
import { parseArgs } from "node:util";
import { noBug } from "./bugs.js";
import { scenarioOf, streamingScenarioOf } from "./scenario.js";
import { shrink } from "./shrink.js";
import { World } from "./world.js";

const FAILURES_MAX = 3;

const { values } = parseArgs({ options: { seed: { type: "string", default: "1" }, runs: { type: "string", default: "1000" }, seconds: { type: "string", default: "Infinity" }, trace: { type: "boolean", default: false }, "no-shrink": { type: "boolean", default: false }, keep: { type: "boolean", default: false }, streams: { type: "boolean", default: false } } });
const first = Number(values.seed);
const runs = Number(values.runs);
const say = (line: string) => process.stdout.write(`${line}\n`);

const started = performance.now();
let failures = 0;
let virtualMs = 0;
let messages = 0;
let answers = 0;
const settled: number[] = [];
const recoveries: number[] = [];
const rules = new Map<string, number>();
for (let seed = first; seed < first + runs && performance.now() - started < Number(values.seconds) * 1_000; seed += 1) {
  const scenario = values.streams ? streamingScenarioOf(seed) : scenarioOf(seed);
  const world = new World(scenario, noBug, values.trace ? say : undefined);
  const outcome = world.run();
  answers += scenario.questions.length;
  recoveries.push(...world.recoveries);
  virtualMs += outcome.virtualMs;
  messages += outcome.messages;
  if (!outcome.violation) { settled.push(outcome.settledMs); continue; }
  failures += 1;
  rules.set(outcome.violation.rule, (rules.get(outcome.violation.rule) ?? 0) + 1);
  if (failures > FAILURES_MAX) { if (values.keep) continue; break; }
  say(`\nseed ${seed}: ${outcome.violation.message}`);
  if (values["no-shrink"]) continue;
  const small = shrink(scenario, outcome.violation.rule, noBug);
  say(`shrunk: ${JSON.stringify(small.scenario)}`);
  const lines: string[] = [];
  const again = new World(small.scenario, noBug, (line) => lines.push(line)).run();
  say(lines.slice(-120).join("\n"));
  say(`${again.violation?.message ?? "did not replay"}\nreplay: npm run sim -- --seed ${seed} --runs 1 --trace${values.streams ? " --streams" : ""}`);
}
const at = (times: number[], share: number) => ((times.sort((a, b) => a - b)[Math.floor(times.length * share)] ?? 0) / 1_000).toFixed(1);
const seconds = (performance.now() - started) / 1_000;
say(`${failures} violations in ${settled.length + failures} seeds from ${first}: ${(virtualMs / 3_600_000).toFixed(1)} hours of virtual time, ${messages} messages, ${seconds.toFixed(1)} s (${((seconds * 1_000) / (settled.length + failures)).toFixed(2)} ms a seed)`);
say(`to rest after the last fault: median ${at(settled, 0.5)} s, 99 % within ${at(settled, 0.99)} s, longest ${at(settled, 0.999999)} s`);
if (values.streams) say(`${answers} answers, ${recoveries.length} interruptions survived: median ${at(recoveries, 0.5)} s, 99 % within ${at(recoveries, 0.99)} s`);
for (const [rule, count] of rules) say(`  ${count} × ${rule}`);
process.exitCode = failures > 0 ? 1 : 0;
