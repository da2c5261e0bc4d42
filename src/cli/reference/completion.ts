/** Completion for bash, zsh and fish from the command table: commands, then the flags of the command, then files. Pure. */
import { MinidError } from "../../core/errors.js";
import type { CommandEntry, FlagEntry } from "./command-table.js";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

/** @throws MinidError usage */
export function completionFor(shell: string, commands: readonly CommandEntry[]): string {
  switch (shell) {
    case "bash": return bash(commands);
    case "zsh": return zsh(commands);
    case "fish": return fish(commands);
    default: throw new MinidError("usage", `completion for ${JSON.stringify(shell)}: ${shells.join(", ")} are the shells it knows`);
  }
}

const allFlags = (command: CommandEntry): readonly FlagEntry[] => [...command.flags, ...command.settings];
const takesFiles = ({ valueHint }: FlagEntry): boolean => valueHint === "DIR" || valueHint === "FILE";

function bash(commands: readonly CommandEntry[]): string {
  const valued = [...new Set(commands.flatMap((command) => allFlags(command).filter((flag) => flag.valueHint !== undefined && !takesFiles(flag)).map(({ name }) => `--${name}`)))];
  return `# minid completion bash > /etc/bash_completion.d/minid
_minid() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} flags=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")} --help --version" -- "$word")); return; fi
  case "$before" in ${valued.join("|")}) return ;; esac
  case "\${COMP_WORDS[1]}" in
${commands.map((command) => `    ${command.name}) flags="${["--help", ...allFlags(command).map(({ name }) => `--${name}`)].join(" ")}" ;;`).join("\n")}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) compopt -o default 2>/dev/null ;;
  esac
}
complete -F _minid minid
`;
}

/** In single quotes, and without what zsh's _arguments gives a meaning. */
const zshText = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/gu, String.raw`\$&`);

function zsh(commands: readonly CommandEntry[]): string {
  const flag = (entry: FlagEntry) => `'--${entry.name}[${zshText(entry.description)}]${entry.valueHint === undefined ? "" : `:${zshText(entry.valueHint)}:${takesFiles(entry) ? "_files" : ""}`}'`;
  return `#compdef minid
# minid completion zsh > "\${fpath[1]}/_minid"
_minid() {
  local -a commands
  commands=(
${commands.map(({ name, description }) => `    '${name}:${zshText(description)}'`).join("\n")}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "\${words[2]}" in
${commands.map((command) => `    ${command.name}) _arguments ${["'--help[Show the flags]'", ...allFlags(command).map(flag), "'*:file:_files'"].join(" \\\n      ")} ;;`).join("\n")}
  esac
}
# Loaded as a function of fpath, or sourced.
if [ "$funcstack[1]" = _minid ]; then _minid "$@"; else compdef _minid minid; fi
`;
}

const fishText = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", String.raw`\'`)}'`;

function fish(commands: readonly CommandEntry[]): string {
  const line = (command: CommandEntry, flag: FlagEntry) => `complete -c minid -n '__fish_seen_subcommand_from ${command.name}' -l ${flag.name} -d ${fishText(flag.description)}${flag.valueHint === undefined ? "" : takesFiles(flag) ? " -r -F" : " -x"}`;
  return [
    "# minid completion fish > ~/.config/fish/completions/minid.fish",
    "complete -c minid -n __fish_use_subcommand -f",
    ...commands.map(({ name, description }) => `complete -c minid -n __fish_use_subcommand -a ${name} -d ${fishText(description)}`),
    ...commands.flatMap((command) => allFlags(command).map((flag) => line(command, flag))),
    "",
  ].join("\n");
}
