import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { NodeClient } from "../../../src/cli/node-client.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

it.each(["alone", "with a signal of the caller's"])("ends its wait for a node that takes the connection and says nothing, whatever is collected meanwhile: %s", async (how) => {
  const hung = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(hung, "listening");
  try {
    const caller = new AbortController();
    const { port } = hung.address() as { port: number };
    const call = NodeClient.at(`http://127.0.0.1:${port}`, undefined).call("GET", "/health/live", { timeoutMs: 500, ...(how === "alone" ? {} : { signal: caller.signal }) });
    await delay(100);
    collectGarbage();
    await expect(call).rejects.toMatchObject({ code: "not_running" });
    expect(caller.signal.aborted).toBe(false);
  } finally { hung.close(); }
}, 20_000);
