/** `minid install`: this machine runs minid from boot on, with nobody logged in. `--check` only looks whether it could. */
import { defineCommand } from "citty";
import { renderFinding, worstOf } from "../checks/check.js";
import { configArgs, homeArgs, jsonArgs, nodeSettings } from "./common.js";
import { preflight } from "./preflight.js";

const ownArgs = {
  check: { type: "boolean", description: "Only look whether this machine is fit, and change nothing", default: false },
} as const;

export const installCommand = defineCommand({
  meta: { name: "install", description: "Run minid from boot on, as a system service" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs, ...configArgs },
  run: async ({ args }) => {
    const { home, config } = nodeSettings(args, ownArgs);
    const findings = await preflight({ home, config, systemService: true });
    console.log(args.json ? JSON.stringify(findings) : findings.map(renderFinding).join("\n"));
    return worstOf(findings) === "error" ? 1 : 0;
  },
});
