/**
 * What happens to the cluster in one run, as data: so that a failing seed can be printed, replayed and shrunk.
 * Generated from the seed alone. Times are virtual milliseconds; machines are numbered from 0.
 */
import { Random } from "./random.js";

export type Fault =
  /** Links between machines whose bits differ in `side` carry nothing. */
  | { readonly kind: "partition"; readonly at: number; readonly forMs: number; readonly side: number }
  | { readonly kind: "oneway"; readonly at: number; readonly forMs: number; readonly from: number; readonly to: number }
  | { readonly kind: "cut"; readonly at: number; readonly forMs: number; readonly a: number; readonly b: number }
  | { readonly kind: "loss"; readonly at: number; readonly forMs: number; readonly share: number }
  | { readonly kind: "delay"; readonly at: number; readonly forMs: number; readonly upToMs: number }
  | { readonly kind: "duplicate"; readonly at: number; readonly forMs: number; readonly share: number }
  /** The agent's process stands still; what arrives waits. `clockStops`: the monotonic clock stands still too, as macOS does in sleep. */
  | { readonly kind: "pause"; readonly at: number; readonly forMs: number; readonly machine: number; readonly clockStops: boolean }
  | { readonly kind: "clock"; readonly at: number; readonly machine: number; readonly byMs: number }
  /** `when`: at once, or in the middle of the next write to disk: after it or before it. */
  | { readonly kind: "crash"; readonly at: number; readonly downMs: number; readonly machine: number; readonly scope: "agent" | "machine"; readonly when: "now" | "after_fsync" | "before_fsync"; readonly lost: "nothing" | "record" | "identity" }
  | { readonly kind: "worker"; readonly at: number; readonly machine: number; readonly what: "crash" | "unhealthy" | "crash_loop" | "load_fails"; readonly forMs: number }
  | { readonly kind: "slow_disk"; readonly at: number; readonly forMs: number; readonly machine: number; readonly upToMs: number }
  /** Drains, leaves when drained (or after a while), comes back after `downMs`; Infinity: stays away. */
  | { readonly kind: "leave"; readonly at: number; readonly machine: number; readonly downMs: number }
  /** Another address on the same interface. */
  | { readonly kind: "readdress"; readonly at: number; readonly machine: number };

export interface MachineSpec {
  readonly startAt: number;
  readonly cores: number;
  readonly budgetBytes: number;
  readonly localRank: number | undefined;
}

/** A client asks at a machine's front door. */
export interface Question {
  readonly at: number;
  readonly machine: number;
  readonly promptLength: number;
  readonly maxTokens: number;
  readonly seed: number;
}

export interface Scenario {
  readonly seed: number;
  readonly machines: readonly MachineSpec[];
  readonly layerCount: number;
  readonly layerBytes: number;
  /** One-way delay of a healthy link, at most. */
  readonly delayMs: number;
  /** Only loss and delay within what must not disturb anybody: then leadership must not change once it is settled. */
  readonly calm: boolean;
  readonly use: "all" | "fastest";
  readonly faults: readonly Fault[];
  /** Answers that stream meanwhile. */
  readonly questions: readonly Question[];
  /** How the engines rebuild a sequence. */
  readonly replay: "prefill" | "decode";
  /** From here on nothing new happens. */
  readonly quietAt: number;
  /** Stays broken after `quietAt`. */
  readonly scar: { readonly kind: "none" } | { readonly kind: "partition"; readonly side: number } | { readonly kind: "cut" | "oneway"; readonly a: number; readonly b: number };
}

const FAULT_WINDOW_MS = 12_000;
/** Before the first fault: long enough to elect, plan and load. */
const CALM_FROM_MS = 6_000;

/** The scenario of a seed, with answers streaming through it. */
export function streamingScenarioOf(seed: number): Scenario {
  const scenario = scenarioOf(seed);
  const random = new Random(seed, 3);
  const questions = Array.from({ length: random.int(1, 8) }, (): Question => ({
    at: random.int(2_000, Math.min(scenario.quietAt, 16_000)), machine: random.int(0, scenario.machines.length - 1), promptLength: random.int(1, 30), maxTokens: random.int(3, 80), seed: random.int(0, 1_000),
  }));
  return { ...scenario, questions, replay: random.pick(["prefill", "decode"]) };
}

export function scenarioOf(seed: number): Scenario {
  const random = new Random(seed, 1);
  const count = random.pick([2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9]);
  const calm = random.chance(0.1);
  const together = random.chance(0.5);
  const machines = Array.from({ length: count }, (): MachineSpec => ({
    startAt: together ? random.int(0, 300) : random.int(0, random.chance(0.2) ? 12_000 : 3_000),
    cores: random.pick([4, 4, 8, 10]),
    budgetBytes: random.pick([120, 200, 400]),
    localRank: random.chance(0.2) ? random.int(0, 3) : undefined,
  }));
  const faults: Fault[] = [];
  if (calm) faults.push(...calmFaults(random));
  else for (let left = random.int(1, random.chance(0.3) ? 9 : 4); left > 0; left -= 1) faults.push(fault(random, count));
  const scarred = random.next();
  const [a, b] = twoOf(random, count);
  return {
    seed, machines, calm, faults, questions: [], replay: "prefill",
    layerCount: random.int(4, 12), layerBytes: random.pick([5, 10, 10, 20, 40]),
    delayMs: random.pick([1, 1, 5, 50]), use: random.chance(0.15) ? "fastest" : "all",
    quietAt: calm ? CALM_FROM_MS + FAULT_WINDOW_MS : Math.max(...faults.map(endOf), ...machines.map((machine) => machine.startAt), 3_000),
    scar: calm || scarred < 0.78 ? { kind: "none" } : scarred < 0.82 ? { kind: "oneway", a, b } : scarred < 0.92 || count < 3 ? { kind: "partition", side: random.int(1, 2 ** (count - 1) - 1) } : { kind: "cut", a, b },
  };
}

export function endOf(fault: Fault): number {
  if ("forMs" in fault) return fault.at + fault.forMs;
  if ("downMs" in fault) return fault.at + (Number.isFinite(fault.downMs) ? fault.downMs : 0) + (fault.kind === "leave" ? LEAVE_PATIENCE_MS : 0);
  return fault.at;
}

/** A node that cannot drain leaves anyway after this long. */
export const LEAVE_PATIENCE_MS = 5_000;

function calmFaults(random: Random): readonly Fault[] {
  const faults: Fault[] = [{ kind: "loss", at: CALM_FROM_MS, forMs: FAULT_WINDOW_MS, share: random.between(0.05, 0.2) }];
  if (random.chance(0.5)) faults.push({ kind: "delay", at: CALM_FROM_MS, forMs: FAULT_WINDOW_MS, upToMs: random.int(20, 200) });
  if (random.chance(0.5)) faults.push({ kind: "duplicate", at: CALM_FROM_MS, forMs: FAULT_WINDOW_MS, share: 0.2 });
  return faults;
}

function fault(random: Random, count: number): Fault {
  const at = random.int(500, FAULT_WINDOW_MS);
  const forMs = random.chance(0.4) ? random.int(100, 2_500) : random.int(2_000, 8_000);
  const machine = random.int(0, count - 1);
  const [a, b] = twoOf(random, count);
  switch (random.pick(kinds)) {
    case "partition": return { kind: "partition", at, forMs, side: random.int(1, 2 ** (count - 1) - 1) };
    case "oneway": return { kind: "oneway", at, forMs, from: a, to: b };
    case "cut": return { kind: "cut", at, forMs, a, b };
    case "loss": return { kind: "loss", at, forMs, share: random.between(0.05, 0.6) };
    case "delay": return { kind: "delay", at, forMs, upToMs: random.int(50, 1_500) };
    case "duplicate": return { kind: "duplicate", at, forMs, share: random.between(0.1, 0.6) };
    case "pause": return { kind: "pause", at, forMs, machine, clockStops: random.chance(0.3) };
    case "clock": return { kind: "clock", at, machine, byMs: random.int(-100_000, 100_000) };
    case "crash": return {
      kind: "crash", at, downMs: random.chance(0.5) ? random.int(50, 1_500) : random.int(1_000, 9_000), machine, scope: random.pick(["agent", "machine"]),
      when: random.pick(["now", "now", "after_fsync", "before_fsync"]), lost: random.pick(["nothing", "nothing", "nothing", "record", "identity"]),
    };
    case "worker": return { kind: "worker", at, machine, what: random.pick(["crash", "crash", "unhealthy", "crash_loop", "load_fails"]), forMs };
    case "slow_disk": return { kind: "slow_disk", at, forMs, machine, upToMs: random.int(50, 4_000) };
    case "leave": return { kind: "leave", at, machine, downMs: random.chance(0.5) ? Infinity : random.int(100, 5_000) };
    case "readdress": return { kind: "readdress", at, machine };
  }
}

const kinds = ["partition", "partition", "oneway", "cut", "loss", "delay", "duplicate", "pause", "pause", "clock", "crash", "crash", "crash", "worker", "worker", "slow_disk", "leave", "readdress"] as const;

function twoOf(random: Random, count: number): readonly [number, number] {
  const a = random.int(0, count - 1);
  return [a, (a + random.int(1, count - 1)) % count];
}
