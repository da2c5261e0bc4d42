/**
 * A check: a code, what it looks at, and a pure judgement of facts that somebody else gathered. `minid install` runs those of the
 * machine before it installs, `minid doctor` runs all of them; both show the same findings.
 *
 * A check never gathers and never mends: facts come from a probe of their own (`machine-probe.ts`), so every verdict can be tested
 * from a literal. What could not be found out is said as `info` or not at all, never guessed to be bad.
 */
export const severities = ["ok", "info", "warning", "error"] as const;
/** `error`: it does not work like this; `warning`: it works, not well or not for long; `info`: worth knowing. */
export type Severity = (typeof severities)[number];

/** One line of a report. */
export interface Finding {
  readonly code: string;
  readonly severity: Severity;
  /** What was found, with its figures. */
  readonly seen: string;
  /** What follows from it; empty when all is well. */
  readonly meaning: string;
  /** What to do; empty when all is well or when it heals by itself. */
  readonly remedy: string;
  /** The machine it is about; absent: the one that looked. */
  readonly device?: string;
}

/** What a check says of the facts; `meaning` and `remedy` only where the general ones do not fit. */
export interface Judgement {
  readonly severity: Severity;
  readonly seen: string;
  readonly meaning?: string;
  readonly remedy?: string;
}

export interface Check<Facts> {
  /** Stable, snake_case: people search for it, docs/OPERATIONS.md has an entry for it. */
  readonly code: string;
  /** What is looked at, half a line. */
  readonly title: string;
  /** What it means when this check finds something. */
  readonly meaning: string;
  /** What to do then. */
  readonly remedy: string;
  /** @returns undefined where the check does not apply; several for several of a kind (ports, interfaces). */
  readonly judge: (facts: Facts) => Judgement | readonly Judgement[] | undefined;
}

export function runChecks<Facts>(checks: readonly Check<Facts>[], facts: Facts): Finding[] {
  return checks.flatMap((check) => [check.judge(facts) ?? []].flat().map((judgement) => findingOf(check, judgement)));
}

function findingOf({ code, meaning, remedy }: Omit<Check<never>, "judge">, judgement: Judgement): Finding {
  const { severity, seen } = judgement;
  if (severity === "ok") return { code, severity, seen, meaning: "", remedy: "" };
  return { code, severity, seen, meaning: judgement.meaning ?? meaning, remedy: judgement.remedy ?? remedy };
}

export function worstOf(findings: readonly Finding[]): Severity {
  return severities[Math.max(0, ...findings.map((finding) => severities.indexOf(finding.severity)))] ?? "ok";
}

const words: Readonly<Record<Severity, string>> = { ok: "ok", info: "note", warning: "WARNING", error: "ERROR" };

/** What people read: one line for what is well, three for what is not. */
export function renderFinding({ code, severity, seen, meaning, remedy, device }: Finding): string {
  const indent = " ".repeat(9);
  return [
    `${words[severity].padEnd(8)} ${code}${device === undefined ? "" : ` (${device})`}: ${seen}`,
    ...(meaning === "" ? [] : [`${indent}${meaning}`]),
    ...(remedy === "" ? [] : [`${indent}-> ${remedy}`]),
  ].join("\n");
}
