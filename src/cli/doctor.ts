/**
 * `minid doctor`: what is wrong, on this machine and on every other, what it means, and what to do. The running agent examines the
 * cluster; where it does not answer, this process does it from the home's files.
 *
 * Exit code: 0 nothing is wrong (notes do not count), 1 an error, 4 warnings only; 2 and 3 are every command's (docs/OPERATIONS.md).
 */
import { defineCommand } from "citty";
import { worstOf } from "../checks/check.js";
import { MinidError } from "../core/errors.js";
import { homeDirectory } from "../daemon/config/load.js";
import type { Examination } from "../daemon/doctor/examine.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { examine, examineBy } from "./doctor-examine.js";
import { mend } from "./doctor-fix.js";
import { renderExamination } from "./doctor-render.js";
import { NodeClient, nodeArgs } from "./node-client.js";

const ownArgs = {
  fix: { type: "boolean", description: "Mend on this machine what can be mended safely, and say what was done", default: false },
  deep: { type: "boolean", description: "Read every byte of the model, on every machine", default: false },
  all: { type: "boolean", description: "Show what is well too", default: false },
} as const;

const exitCodes = { ok: 0, info: 0, warning: 4, error: 1 } as const;

export const doctorCommand = defineCommand({
  meta: { name: "doctor", description: "Find out what is wrong, on all machines, and what to do about it" },
  args: { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs });
    const elsewhere = stringArg(args, "url") !== undefined;
    if (elsewhere && args.fix) throw new MinidError("usage", "--fix mends this machine only: run it on that machine, without --url");
    const home = homeDirectory(stringArg(args, "home"), process.env);
    const look = (): Promise<Examination> => (elsewhere ? examineBy(NodeClient.fromArgs(args), args.deep) : examine(home, args.deep));
    const first = await look();
    const fixed = args.fix ? await mend(home, first) : [];
    // What was mended is looked at again: the answer is how things are now.
    const now = fixed.some(({ done }) => done) ? await look() : first;
    if (args.json) console.log(JSON.stringify({ ...now, worst: worstOf(now.findings), ...(args.fix ? { fixed } : {}) }));
    else console.log(renderExamination(now, { all: args.all, fixed }));
    return exitCodes[worstOf(now.findings)];
  },
});
