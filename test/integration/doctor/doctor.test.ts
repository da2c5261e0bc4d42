/** `minid doctor` on one real node, healthy and not (`npm run test:doctor`; `npm test` has the faults that need no node). */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCluster } from "../../support/cluster.js";
import { until } from "../../support/wait.js";
import { alarmsOf, doctor } from "./support.js";

it.runIf(process.env["MINID_LONG"] === "1")("finds nothing on a healthy node; names a halted agent, an invalid configuration and open rights, and mends what is safe; works without an agent", async () => {
  const cluster = await startCluster({ nodes: 1, settings: { threads: 1, "context-max": 256, "worker-standby": false, "drain-timeout-ms": 100 } });
  const [node] = cluster.nodes;
  try {
    await until("no alarm", async () => { const { code, examination } = await doctor(node!); return code === 0 && alarmsOf(examination).length === 0; }, 60_000);

    writeFileSync(join(node!.home, "config.json"), '{"modle": "x"}');
    const refused = await doctor(node!);
    expect(refused.code).toBe(1);
    expect(alarmsOf(refused.examination)).toContain("config_invalid node1");
    // An agent that starts would read it.
    rmSync(join(node!.home, "config.json"));

    chmodSync(join(node!.home, "tls"), 0o755);
    await node!.signal("agent", "SIGSTOP");
    const mended = await doctor(node!, "--fix");
    expect(mended.examination.fixed?.filter(({ done }) => done).map(({ code }) => code)).toEqual(["home_permissions", "agent_hung"]);
    // What was mended is looked at again: what is left, if anything, is an agent that is still starting.
    expect(alarmsOf(mended.examination)).not.toContain("home_permissions node1");
    await until("the agent is back", async () => (await node!.status()).ready, 60_000);

    await node!.kill("node");
    const dead = await doctor(node!);
    expect(dead.code).toBe(1);
    expect(alarmsOf(dead.examination)).toEqual(["agent_down node1"]);
  } finally { await cluster.stop(); }
}, 240_000);
