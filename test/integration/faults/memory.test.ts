/** Memory that is not there: a worker ended by the kernel for taking too much, and a model that does not fit on the machines left. `npm run test:faults`. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, differences } from "../../support/answer.js";
import { type Cluster, type ClusterNode, startCluster } from "../../support/cluster.js";
import { canLimitMemory, limitMemory } from "../../support/memory-limit.js";
import { until } from "../../support/wait.js";

const question = { prompt: "Tell me a long story about a fox.", maxTokens: 120 };
/** Holds two thirds of the embedded model and its cache. */
const tooSmallBytes = 120_000_000;
const timeoutMs = 400_000;

/** Asks and calls `then` when the answer has begun. */
async function during(node: ClusterNode, then: () => Promise<void>): Promise<Answer> {
  let begun = (): void => undefined;
  const streaming = new Promise<void>((resolve) => { begun = resolve; });
  const answer = node.ask(question, { onText: (count) => { if (count === 10) begun(); } });
  await Promise.race([streaming, answer]);
  await then();
  return await answer;
}

async function restarts(node: ClusterNode): Promise<number> {
  return (await node.status()).devices.find((device) => device.self)?.worker?.restarts ?? 0;
}

describe.runIf(process.env["MINID_LONG"] === "1")("a worker that runs out of memory", () => {
  let cluster: Cluster;
  let undisturbed: Answer;
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2, settings: { threads: 1 } });
    undisturbed = await cluster.nodes[0]!.ask(question);
  }, timeoutMs);
  afterAll(async () => { await cluster?.stop(); }, timeoutMs);

  it.runIf(canLimitMemory)("is ended by the kernel and comes back, and the answer goes on", async () => {
    const node = cluster.nodes[1]!;
    const before = await restarts(node);
    const limit = limitMemory(await node.pid("worker"), 1 << 20);
    try {
      const answer = await during(cluster.nodes[0]!, async () => { await until("the kernel ends it", () => limit.kills() > 0); });
      expect(differences(answer, undisturbed)).toEqual([]);
      await cluster.ready();
      expect(await restarts(node)).toBeGreaterThan(before);
    } finally {
      await until("its group is empty", () => { try { limit.remove(); return true; } catch { return false; } });
    }
  }, timeoutMs);
});

describe.runIf(process.env["MINID_LONG"] === "1")("a model that fits on two machines only", () => {
  let cluster: Cluster;
  let undisturbed: Answer;
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2, settings: { threads: 1, "memory-bytes-max": tooSmallBytes } });
    undisturbed = await cluster.nodes[0]!.ask(question);
  }, timeoutMs);
  afterAll(async () => { await cluster?.stop(); }, timeoutMs);

  it("waits when one of them dies, says why, lets deadlines pass with a retryable error, and finishes the open answer when it is back", async () => {
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    const answer = await during(first, async () => {
      await second.kill("node");
      const health = await until("the reason is told", async () => {
        const response = await fetch(`${first.url}/health`);
        const { reasons } = await response.json() as { reasons: { message: string }[] };
        return response.status === 503 && reasons.some(({ message }) => message.includes("short")) && { response, reasons };
      });
      expect(health.response.headers.get("retry-after")).not.toBeNull();
      expect(health.reasons.map(({ message }) => message).join(" ")).toMatch(/needs .* MB.*node1 offers .* short/u);

      const { id: model } = (await first.status()).model;
      const refused = await fetch(`${first.url}/v1/chat/completions`, {
        method: "POST", headers: { "content-type": "application/json", timeout: "3" },
        body: JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }], max_tokens: 4 }),
      });
      expect([503, 504]).toContain(refused.status);
      expect((await refused.json() as { error: { message: string; code: string } }).error.message).not.toBe("");
      second.start();
    });
    expect(differences(answer, undisturbed)).toEqual([]);
    await cluster.ready();
    expect((await fetch(`${first.url}/health`)).status).toBe(200);
  }, timeoutMs);
});
