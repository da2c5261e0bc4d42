/** `minid completion SHELL`: prints the completion script for bash, zsh or fish; `minid completion man` the man page. */
import { defineCommand } from "citty";
import { packageVersion } from "../core/package-info.js";
import { refuseUnknownFlags } from "./common.js";
import { commandTable } from "./reference/command-table.js";
import { completionFor } from "./reference/completion.js";
import { manPage } from "./reference/man-page.js";

const ownArgs = { shell: { type: "positional", description: "bash, zsh or fish; man prints the man page", required: true } } as const;

export const completionCommand = defineCommand({
  meta: { name: "completion", description: "Print the completion script for a shell" },
  args: ownArgs,
  run: async ({ args }) => {
    refuseUnknownFlags(args, ownArgs);
    const table = await commandTable();
    process.stdout.write(args.shell === "man" ? manPage(table, packageVersion()) : completionFor(args.shell, table));
    return 0;
  },
});
