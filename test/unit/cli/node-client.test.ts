import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { NodeClient } from "../../../src/cli/node-client.js";
import { processStartTime } from "../../../src/core/process-identity.js";
import { writeRunFile } from "../../../src/core/run-file.js";

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

it("says what to do where nobody answers: start minid, or where it runs already, ask the doctor", async () => {
  const home = mkdtempSync(join(tmpdir(), "minid-client-"));
  try {
    mkdirSync(join(home, "run"));
    // Port 1: nobody listens there.
    writeRunFile(home, "agent", { pid: process.pid, startTime: "", incarnation: "", port: 0, httpPort: 1 });
    await expect(NodeClient.ofHome(home).call("GET", "/health/live")).rejects.toThrow(/start minid on that machine/u);
    writeRunFile(home, "pm2", { pid: process.pid, startTime: processStartTime(process.pid), incarnation: "", port: 0 });
    await expect(NodeClient.ofHome(home).call("GET", "/health/live")).rejects.toThrow(/`minid doctor` says why/u);
  } finally { rmSync(home, { recursive: true }); }
});
