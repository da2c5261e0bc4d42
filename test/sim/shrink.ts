/** Makes a failing scenario smaller while the same rule breaks: fewer faults, fewer machines, simpler everything else. */
import type { Bug } from "./bugs.js";
import { type Fault, type Scenario, endOf } from "./scenario.js";
import { type Outcome, World } from "./world.js";

/** Runs that shrinking may cost. */
const RUNS_MAX = 400;

export function shrink(scenario: Scenario, rule: string, bug: Bug): { readonly scenario: Scenario; readonly outcome: Outcome } {
  let best = scenario;
  let outcome = new World(best, bug).run();
  let runs = 0;
  const attempt = (candidate: Scenario): boolean => {
    if (runs >= RUNS_MAX) return false;
    runs += 1;
    const tried = new World(candidate, bug).run();
    if (tried.violation?.rule !== rule) return false;
    best = candidate;
    outcome = tried;
    return true;
  };
  for (let progress = true; progress && runs < RUNS_MAX;) {
    progress = false;
    for (let size = Math.max(1, best.faults.length >> 1); size >= 1; size >>= 1) {
      for (let from = 0; from < best.faults.length;) {
        const faults = [...best.faults.slice(0, from), ...best.faults.slice(from + size)];
        if (attempt(requiet({ ...best, faults }))) progress = true;
        else from += size;
      }
    }
    for (let at = 0; at < best.questions.length;) {
      if (attempt({ ...best, questions: best.questions.filter((_, index) => index !== at) })) progress = true;
      else at += 1;
    }
    while (best.machines.length > 2 && attempt(withoutLast(best))) progress = true;
    if (best.scar.kind !== "none" && attempt({ ...best, scar: { kind: "none" } })) progress = true;
    const simple = best.machines.map((machine) => ({ ...machine, cores: 4, localRank: undefined }));
    if (JSON.stringify(simple) !== JSON.stringify(best.machines) && attempt({ ...best, machines: simple })) progress = true;
    if (best.delayMs !== 1 && attempt({ ...best, delayMs: 1 })) progress = true;
  }
  return { scenario: best, outcome };
}

/** Fields of faults that name a machine. */
const machineKeys: ReadonlySet<string> = new Set(["machine", "a", "b", "from", "to"]);

function requiet(scenario: Scenario): Scenario {
  return { ...scenario, quietAt: Math.max(...scenario.faults.map(endOf), ...scenario.machines.map((machine) => machine.startAt), 3_000) };
}

function withoutLast(scenario: Scenario): Scenario {
  const count = scenario.machines.length - 1;
  const there = (fault: Fault) => Object.entries(fault).every(([key, value]) => !machineKeys.has(key) || Number(value) < count);
  const scar = (scenario.scar.kind === "cut" || scenario.scar.kind === "oneway") && (scenario.scar.a >= count || scenario.scar.b >= count) ? { kind: "none" as const } : scenario.scar;
  return requiet({ ...scenario, machines: scenario.machines.slice(0, count), faults: scenario.faults.filter(there), questions: scenario.questions.filter((question) => question.machine < count), scar });
}
