/** `minid models`: the checkpoints that this machine has. */
import { defineCommand } from "citty";
import { homeDirectory } from "../daemon/config/load.js";
import { listModels } from "../model/store.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";

export const modelsCommand = defineCommand({
  meta: { name: "models", description: "List the models that are on this machine" },
  args: { ...homeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...homeArgs, ...jsonArgs });
    const models = await listModels(homeDirectory(stringArg(args, "home"), process.env));
    if (args.json) console.log(JSON.stringify(models));
    else for (const model of models) console.log(`${model.id}\t${model.directory}`);
    return 0;
  },
});
