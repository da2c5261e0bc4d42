/** A scenario written by hand, for traces that a person reads: equal machines, a quiet network, and the faults of the story. */
import { type Fault, type Scenario, endOf } from "./scenario.js";
import { noBug } from "./bugs.js";
import { World } from "./world.js";

export interface Story {
  readonly machines: number;
  readonly faults?: readonly Fault[];
  /** `LOCAL_RANK` of some machines. */
  readonly localRanks?: readonly (number | undefined)[];
  readonly startAt?: readonly number[];
  readonly budgetMegabytes?: number;
  readonly scar?: Scenario["scar"];
}

/** @returns what happened, one event a line: seconds, machine, event. */
export function tell({ machines, faults = [], localRanks = [], startAt = [], budgetMegabytes = 400, scar = { kind: "none" } }: Story): string {
  const lines: string[] = [];
  const scenario: Scenario = {
    seed: 1, calm: false, layerCount: 12, layerBytes: 10, delayMs: 1, use: "all", scar, faults, questions: [], replay: "prefill",
    machines: Array.from({ length: machines }, (_, index) => ({ startAt: startAt[index] ?? 0, cores: 8, budgetBytes: budgetMegabytes, localRank: localRanks[index] })),
    quietAt: Math.max(6_000, ...faults.map((fault) => endOf(fault) + 1_000)),
  };
  const outcome = new World(scenario, noBug, (line) => lines.push(line)).run();
  lines.push(outcome.violation ? `VIOLATION ${outcome.violation.message}` : "at rest");
  return `${lines.join("\n")}\n`;
}
