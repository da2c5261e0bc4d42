/** `minid status`: the ring, as any node of the cluster sees it; `--watch` shows it anew every second. Exit code 1 when a request would not be served now. */
import { defineCommand } from "citty";
import { sleep } from "../core/clock.js";
import { errorLine } from "../core/errors.js";
import type { StatusSnapshot } from "../daemon/status.js";
import { homeArgs, jsonArgs, refuseUnknownFlags } from "./common.js";
import { NodeClient, nodeArgs } from "./node-client.js";
import { renderStatus } from "./status-text.js";

const watchIntervalMs = 1_000;
const ownArgs = { watch: { type: "boolean", description: "Show it anew every second, until Ctrl-C", default: false, alias: "w" } } as const;

export const statusCommand = defineCommand({
  meta: { name: "status", description: "Show the cluster: ring, ranks, layers, rates, health" },
  args: { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs });
    const client = NodeClient.fromArgs(args);
    const look = async (): Promise<StatusSnapshot> => await client.json("GET", "/distributed/status") as StatusSnapshot;
    if (args.watch) { await watch(look, args.json); return 0; }
    const status = await look();
    console.log(args.json ? JSON.stringify(status) : renderStatus(status));
    return status.ready ? 0 : 1;
  },
});

/** On a terminal the picture is rewritten in place; elsewhere, and as JSON, one follows the other. A node that does not answer is waited for. */
async function watch(look: () => Promise<StatusSnapshot>, json: boolean): Promise<void> {
  const stop = new AbortController();
  const end = (): void => { stop.abort(); };
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  process.stdout.on("error", end);
  const inPlace = process.stdout.isTTY && !json;
  while (!stop.signal.aborted) {
    const text = await look().then((status) => (json ? JSON.stringify(status) : renderStatus(status)), (error: unknown) => (json ? JSON.stringify({ error: errorLine(error) }) : errorLine(error)));
    // Home, and each line erased to its end: no flicker. What an earlier, longer picture left below is erased last.
    process.stdout.write(inPlace ? `\u001B[H${text.split("\n").map((line) => `${line}\u001B[K\n`).join("")}\u001B[J` : `${text}\n`);
    await sleep(watchIntervalMs, { signal: stop.signal }).catch(() => undefined);
  }
}
