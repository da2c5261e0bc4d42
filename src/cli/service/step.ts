/** The steps of installing and removing, as data: shown by `--print`, carried out by `execute.ts`. */
export type Step =
  /** Made if missing, with its parents; owner and mode are set in any case. */
  | { readonly kind: "directory"; readonly path: string; readonly mode: number; readonly owner: string }
  /** Everything below `path` belongs to that user from now on. */
  | { readonly kind: "own"; readonly path: string; readonly owner: string }
  /** Owned by root, replaced in one rename. */
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly content: string }
  | { readonly kind: "remove"; readonly path: string }
  /** `mayFail`: what it undoes may not be there. `as`: the user to run it as, else root. `secret`: the join token goes to its standard input. */
  | { readonly kind: "command"; readonly argv: readonly string[]; readonly why: string; readonly mayFail?: boolean; readonly as?: string; readonly secret?: "join token" }
  /** Runs the command until it fails: what it asks for is gone. */
  | { readonly kind: "untilFails"; readonly argv: readonly string[]; readonly why: string }
  /** Until an agent answers there. */
  | { readonly kind: "untilAnswers"; readonly url: string };

/** What a person reads of `--print`. */
export function renderStep(step: Step): string {
  switch (step.kind) {
    case "directory": return `directory ${step.path} (${octal(step.mode)}, owner ${step.owner})`;
    case "own": return `owner     ${step.path} and everything in it: ${step.owner}`;
    case "file": return `file      ${step.path} (${octal(step.mode)}, owner root)\n${step.content.trimEnd().split("\n").map((line) => `    ${line}`).join("\n")}`;
    case "remove": return `remove    ${step.path}`;
    case "command": return `run       ${shellLine(step.argv)}${step.as === undefined ? "" : ` (as ${step.as})`}${step.secret === undefined ? "" : ` < ${step.secret}`}    # ${step.why}`;
    case "untilFails": return `wait      until this fails: ${shellLine(step.argv)}    # ${step.why}`;
    case "untilAnswers": return `wait      until ${step.url} answers`;
    default: return step satisfies never;
  }
}

const octal = (mode: number): string => mode.toString(8).padStart(4, "0");

const shellLine = (argv: readonly string[]): string => argv.map((word) => (/^[\w@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
