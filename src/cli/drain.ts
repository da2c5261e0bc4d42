/** `minid drain`: this machine hands its ranks over and takes no new work, but stays up; `--off` takes it in again. */
import { request } from "node:http";
import { json } from "node:stream/consumers";
import { defineCommand } from "citty";
import { adminSocket } from "../api/admin-server.js";
import { sleep } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import { homeDirectory } from "../daemon/config/load.js";
import type { StatusSnapshot } from "../daemon/status.js";
import { getJson, homeArgs, jsonArgs, localAgentUrl, refuseUnknownFlags, stringArg } from "./common.js";

const pollMs = 200;
const waitMsMax = 120_000;
const ownArgs = { off: { type: "boolean", description: "Take part again", default: false } } as const;

export const drainCommand = defineCommand({
  meta: { name: "drain", description: "Hand this machine's ranks over before maintenance; --off takes it in again" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...jsonArgs });
    const home = homeDirectory(stringArg(args, "home"), process.env);
    await order(adminSocket(home), { draining: !args.off });
    const drained = args.off || await untilDrained(localAgentUrl(home));
    if (args.json) console.log(JSON.stringify({ draining: !args.off, drained }));
    else if (args.off) console.log("taking part again");
    else console.log(drained ? "drained: nothing in the cluster depends on this machine now" : "still draining: minid status shows what depends on this machine");
    return drained ? 0 : 1;
  },
});

async function untilDrained(url: string): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < waitMsMax; waitedMs += pollMs) {
    const status = await getJson(`${url}/distributed/status`) as StatusSnapshot;
    if (status.drained) return true;
    await sleep(pollMs);
  }
  return false;
}

function order(socketPath: string, body: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: "/drain", method: "POST", headers: { "content-type": "application/json" } }, (response) => {
      json(response).then((answer) => {
        if (response.statusCode === 200) resolve(answer);
        else reject(new MinidError("internal_error", `the agent refused: ${JSON.stringify(answer)}`));
      }, reject);
    });
    call.on("error", (error) => reject(new MinidError("not_running", "no agent of that home runs on this machine: start it with minid up", { cause: error })));
    call.end(JSON.stringify(body));
  });
}
