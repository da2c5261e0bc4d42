/** `minid drain`: this machine hands its ranks over and takes no new work, but stays up; `--off` takes it in again. */
import { defineCommand } from "citty";
import { sleep } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import type { StatusSnapshot } from "../daemon/status.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { NodeClient, nodeArgs } from "./node-client.js";

const pollMs = 200;
const waitSecondsDefault = 120;
const ownArgs = {
  off: { type: "boolean", description: "Take part again", default: false },
  wait: { type: "string", description: "Seconds to wait until nothing depends on this machine (default 120)", valueHint: "N" },
} as const;

export const drainCommand = defineCommand({
  meta: { name: "drain", description: "Hand a machine's ranks over before maintenance; --off takes it in again" },
  args: { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs });
    const wait = Number(stringArg(args, "wait") ?? waitSecondsDefault);
    if (!Number.isFinite(wait) || wait < 0) throw new MinidError("usage", `--wait ${JSON.stringify(args.wait)}: write a number of seconds`);
    const node = NodeClient.fromArgs(args);
    await node.json("POST", "/admin/drain", { body: { draining: !args.off } });
    const drained = args.off || await untilDrained(node, 1_000 * wait);
    if (args.json) console.log(JSON.stringify({ draining: !args.off, drained }));
    else if (args.off) console.log("taking part again");
    else console.log(drained ? "drained: nothing in the cluster depends on this machine now" : "still draining: minid status shows what depends on this machine");
    return drained ? 0 : 1;
  },
});

async function untilDrained(node: NodeClient, waitMsMax: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < waitMsMax; waitedMs += pollMs) {
    const status = await node.json("GET", "/distributed/status") as StatusSnapshot;
    if (status.drained) return true;
    await sleep(pollMs);
  }
  return false;
}
