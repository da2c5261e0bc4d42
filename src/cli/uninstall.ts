/** `minid uninstall`: takes the system service away. The home stays, unless `--purge`. `--print` shows every step and changes nothing. */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { packageVersion } from "../core/package-info.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { reporter, requireRoot, servicePlatform } from "./install.js";
import { accountOf, isOwnUser } from "./service/accounts.js";
import { homeOf, userOf } from "./service/definition.js";
import { execute } from "./service/execute.js";
import { planUninstall } from "./service/plan.js";
import { seeService } from "./service/see.js";
import { systemUser } from "./service/spec.js";
import { renderStep } from "./service/step.js";

const ownArgs = {
  print: { type: "boolean", description: "Show every step, and change nothing", default: false },
  purge: { type: "boolean", description: "Remove the home too: identity, models and logs", default: false },
} as const;

export const uninstallCommand = defineCommand({
  meta: { name: "uninstall", description: "Take the system service away; the home stays unless --purge" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...jsonArgs });
    const platform = servicePlatform();
    const { definition, sleepDefinition, loaded } = await seeService(platform, "http://127.0.0.1:9", packageVersion());
    const given = stringArg(args, "home");
    const home = given === undefined ? homeOf(definition ?? "") ?? systemUser.home : resolve(given);
    // Without a definition there is no telling whose home it was: the user of ours that is left is removed, and its default home kept.
    const ownUser = isOwnUser(definition === undefined ? systemUser.name : userOf(definition) ?? "");
    const steps = planUninstall({ platform, definition, sleepDefinition, loaded, home, ownUser, purge: args.purge });
    if (args.purge) requireHome(home);
    if (args.print) { console.log(args.json ? JSON.stringify({ steps }) : steps.map(renderStep).join("\n") || "nothing is installed"); return 0; }
    if (steps.length === 0) { console.log(args.json ? JSON.stringify({ steps }) : "nothing is installed"); return 0; }
    requireRoot("uninstall");
    await execute(steps, { onStep: reporter(args.json), account: (name) => accountOf(name), joinToken: undefined });
    console.log(args.json ? JSON.stringify({ steps }) : args.purge ? "removed" : `removed; ${home} is still there (minid uninstall --purge removes it too)`);
    return 0;
  },
});

/** What is removed with everything in it must be a home of minid's, whatever the command line says. @throws MinidError usage */
function requireHome(home: string): void {
  if (!existsSync(home)) return;
  const fresh = new Set(["config.json", "logs", "models", "pm2", "run"]);
  const looksLikeOne = existsSync(join(home, "identity.json")) || readdirSync(home).every((name) => fresh.has(name));
  if (!looksLikeOne) throw new MinidError("usage", `${home} does not look like a home of minid's (it has no identity.json): it is not removed; correct --home`);
}
