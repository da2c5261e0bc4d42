/** Leaving in order: maintenance and upgrades lose no answer. MINID_LONG=1 (`npm run test:drain`) adds the restart of every node. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, differences } from "../support/answer.js";
import { type Cluster, startCluster } from "../support/cluster.js";

const question = { prompt: "Tell me a story about a lighthouse.", maxTokens: 120 };

describe("leaving in order", () => {
  let cluster: Cluster;
  let undisturbed: Answer;

  beforeAll(async () => {
    // Answers take long on a busy machine, and a node that stops waits for those of its own clients.
    cluster = await startCluster({ nodes: 2, settings: { "drain-timeout-ms": 150_000, "worker-standby": false } });
    undisturbed = await cluster.nodes[0]!.ask(question);
  }, 300_000);
  afterAll(async () => { await cluster?.stop(); }, 120_000);

  it("drains rank 0: leadership and stages move, its own streams go on, and it can be taken in again", async () => {
    const leader = await cluster.leader();
    const other = cluster.nodes.find((node) => node !== leader)!;
    let begun = (): void => undefined;
    const streaming = new Promise<void>((resolve) => { begun = resolve; });
    const answers = [leader, other].map((node) => node.ask(question, { onText: (count) => { if (count === 5) begun(); } }));
    await streaming;
    await leader.cli("drain");
    for (const answer of await Promise.all(answers)) expect(differences(answer, undisturbed)).toEqual([]);
    const status = await other.status();
    expect(status.leader?.device_id).toBe(other.name);
    expect(status.plan?.ranks.map((rank) => rank.device_id)).toEqual([other.name]);
    expect((await fetch(`${leader.url}/health`)).status).toBe(503);
    await leader.cli("drain", "--off");
    await cluster.ready();
  }, 300_000);

  it.runIf(process.env["MINID_LONG"] === "1")("restarts every node under load without a failed request", async () => {
    for (const node of cluster.nodes) {
      const others = cluster.nodes.filter((other) => other !== node);
      let begun = (): void => undefined;
      const streaming = new Promise<void>((resolve) => { begun = resolve; });
      const answers = [node, ...others, ...others].map((front) => front.ask(question, { onText: (count) => { if (count === 5) begun(); } }));
      await streaming;
      expect(await node.stop()).toBe(0);
      for (const answer of await Promise.all(answers)) expect(differences(answer, undisturbed)).toEqual([]);
      node.start();
      await cluster.ready();
    }
  }, 400_000);
});
