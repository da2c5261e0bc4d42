/** `minid forget DEVICE`: removes a machine from the cluster for good. Run on any other member. */
import { defineCommand } from "citty";
import { homeDirectory } from "../daemon/config/load.js";
import { forgetDevice } from "../daemon/security/forget.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";

const ownArgs = { device: { type: "positional", description: "Its device id, or its node id", required: true } } as const;

export const forgetCommand = defineCommand({
  meta: { name: "forget", description: "Remove a machine from the cluster; its certificate is refused from now on" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...jsonArgs });
    const member = await forgetDevice(homeDirectory(stringArg(args, "home"), process.env), args.device);
    console.log(args.json ? JSON.stringify({ device_id: member.deviceId, node_id: member.nodeId }) : `forgotten: ${member.deviceId} (${member.nodeId.slice(0, 8)})`);
    return 0;
  },
});
