#!/usr/bin/env node
/** `minid`: one subcommand a file. Exit codes: exit-codes.ts. */
import { type CommandDef, defineCommand, renderUsage, runCommand } from "citty";
import { MinidError, errorLine } from "../core/errors.js";
import { packageVersion } from "../core/package-info.js";
import { exitCodeOf } from "./common.js";
import { commands } from "./commands.js";

const main = defineCommand({
  meta: { name: "minid", version: packageVersion(), description: "One self-healing inference service out of the machines on your network" },
  subCommands: commands,
});

async function run(argv: readonly string[]): Promise<number> {
  const [name] = argv;
  if (argv.includes("--version") && argv.length === 1) { console.log(packageVersion()); return 0; }
  const load = name !== undefined && Object.hasOwn(commands, name) ? commands[name] as () => Promise<CommandDef> : undefined;
  const sub = await load?.();
  if (sub === undefined || argv.includes("--help") || argv.includes("-h")) {
    console.log(sub ? await renderUsage(sub, main) : await renderUsage(main));
    if (sub === undefined && name !== undefined && !name.startsWith("-")) throw new MinidError("usage", `unknown command ${JSON.stringify(name)}: minid --help lists the commands`);
    return 0;
  }
  const { result } = await runCommand(sub, { rawArgs: argv.slice(1) });
  return typeof result === "number" ? result : 0;
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  console.error(`minid: ${errorLine(error)}`);
  process.exitCode = exitCodeOf(error);
}
