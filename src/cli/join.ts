/** `minid join TOKEN`: makes this home a member of the token's cluster. */
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { configArgs, homeArgs, jsonArgs, nodeSettings, stringArg } from "./common.js";
import { join } from "./join-cluster.js";

const ownArgs = {
  token: { type: "positional", description: "What `minid token` printed on a member; - reads it from standard input", required: true },
  peer: { type: "string", description: "A member to join through, where multicast DNS does not reach", valueHint: "HOST:PORT" },
  leave: { type: "boolean", description: "Leave the cluster that this machine shares with others", default: false },
} as const;

export const joinCommand = defineCommand({
  meta: { name: "join", description: "Join a cluster with a token; start the node afterwards with: minid up" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs, ...configArgs },
  run: async ({ args }) => {
    const { home, config } = nodeSettings(args, ownArgs);
    const joined = await join({ home, config, token: args.token === "-" ? (await readAll(process.stdin)).trim() : args.token, peer: stringArg(args, "peer"), leave: args.leave });
    if (args.json) console.log(JSON.stringify({ cluster_id: joined.cluster.clusterId, cluster_name: joined.cluster.name, changed: joined.changed }));
    else console.log(joined.changed ? `joined ${joined.cluster.name} (${joined.cluster.clusterId.slice(0, 8)}); start this node with: minid up` : `already a member of ${joined.cluster.name}`);
    return 0;
  },
});
