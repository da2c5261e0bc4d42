/** The commands with their flags as plain data: what the man page and the shell completions are made from, so that neither can be out of date. */
import type { ArgDef, ArgsDef, CommandDef } from "citty";
import { flagName, settingKeys } from "../../daemon/config/table.js";
import { commands } from "../commands.js";

export interface FlagEntry {
  /** Without dashes. */
  readonly name: string;
  readonly description: string;
  /** Absent: it takes no value. */
  readonly valueHint?: string;
}

export interface CommandEntry {
  readonly name: string;
  readonly description: string;
  readonly positionals: readonly { readonly name: string; readonly description: string; readonly required: boolean }[];
  /** Its own; a setting's flag is not among them. */
  readonly flags: readonly FlagEntry[];
  readonly settings: readonly FlagEntry[];
}

const settingFlags = new Set(settingKeys.map(flagName));

/** Loads every command. */
export async function commandTable(): Promise<CommandEntry[]> {
  return await Promise.all(Object.entries(commands).map(async ([name, load]) => entryOf(name, await (load as () => Promise<CommandDef>)())));
}

async function resolved<T>(value: T | Promise<T> | (() => T | Promise<T>) | undefined): Promise<T | undefined> {
  return typeof value === "function" ? await (value as () => T | Promise<T>)() : await value;
}

async function entryOf(name: string, command: CommandDef): Promise<CommandEntry> {
  const meta = await resolved(command.meta);
  const args = Object.entries(await resolved<ArgsDef>(command.args) ?? {});
  const flags = args.filter(([, arg]) => arg.type !== "positional").map(flagOf);
  return {
    name, description: meta?.description ?? "",
    positionals: args.filter(([, arg]) => arg.type === "positional").map(([key, arg]) => ({ name: key.toUpperCase(), description: arg.description ?? "", required: arg.required !== false })),
    flags: flags.filter((flag) => !settingFlags.has(flag.name)),
    settings: flags.filter((flag) => settingFlags.has(flag.name)),
  };
}

function flagOf([name, arg]: [string, ArgDef]): FlagEntry {
  const hint = "valueHint" in arg ? arg.valueHint : undefined;
  return { name, description: arg.description ?? "", ...(arg.type !== "boolean" && { valueHint: hint ?? "VALUE" }) };
}
