/**
 * Python's clients, unmodified, against a real node: `npm run test:clients`, which installs them first (scripts/clients.mjs).
 * `npm test` leaves them out: what they take to install is more than all that they test.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Cluster, startCluster } from "../../support/cluster.js";
import { settings } from "../api/node.js";

const python = process.env["MINID_CLIENTS_PYTHON"];

describe.skipIf(python === undefined)("Python's clients", () => {
  let cluster: Cluster | undefined;
  beforeAll(async () => { cluster = await startCluster({ nodes: 1, settings: { ...settings, "sse-keepalive-ms": 1_000 } }); }, 300_000);
  afterAll(async () => { await cluster?.stop(); }, 120_000);

  it.each([
    ["openai", ["streaming", "tools round trip", "structured output", "exceptions", "abort", "429 and another try", "embeddings and responses"]],
    ["litellm", ["streaming", "tools round trip", "structured output", "exceptions", "abort", "429 and another try", "embeddings"]],
    ["langchain", ["streaming", "tools round trip", "structured output", "exceptions", "abort", "429 and another try", "embeddings"]],
  ])("%s", async (name, checks) => {
    const node = cluster!.nodes[0]!;
    const { model } = await node.status();
    const script = join(import.meta.dirname, "python", `${name}_client.py`);
    // No look-ups in the network.
    const env = { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: "True", LANGCHAIN_TRACING_V2: "false" };
    const { stdout } = await promisify(execFile)(python!, [script, node.url, model.id, String(settings["batch-max"]), String(settings["queue-max"])], { env, timeout: 240_000 });
    expect(stdout.split("\n").filter((line) => line.startsWith("ok ")).map((line) => line.slice(3))).toEqual(checks);
  }, 300_000);
});
