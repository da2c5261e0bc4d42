/** The main job, from outside: real nodes under pm2, the embedded model, HTTP. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnswerFailed, type Answer, differences } from "../support/answer.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { until } from "../support/wait.js";

const questions = [
  { prompt: "What is the capital of France?", maxTokens: 12 },
  { prompt: "Name three colors.", maxTokens: 24 },
  { prompt: "Write a sentence about the sea.", maxTokens: 32, temperature: 0.8, seed: 7 },
];

const gauge = async (node: ClusterNode, name: string): Promise<number> => {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, "mu").exec(text)?.[1]);
};

const post = async (node: ClusterNode, body: unknown): Promise<Response> =>
  fetch(`${node.url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

describe("a cluster of real nodes", () => {
  let cluster: Cluster;
  let first: ClusterNode;
  let second: ClusterNode;
  let alone: Answer[];

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2, start: 1, settings: { "worker-standby": false } });
    [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    alone = [];
    for (const question of questions) alone.push(await first.ask(question));
  }, 300_000);
  afterAll(async () => { await cluster?.stop(); }, 120_000);

  it("answers what the capital of France is", async () => {
    const model = (await first.status()).model.id;
    const response = await post(first, { model, temperature: 0, messages: [{ role: "user", content: "What is the capital of France?" }] });
    const body = await response.json() as { choices: { message: { content: string }; finish_reason: string }[]; usage: { completion_tokens: number } };
    expect(body.choices[0]?.message.content).toBe("The capital of France is Paris.");
    expect(body.choices[0]?.finish_reason).toBe("stop");
    expect(body.usage.completion_tokens).toBe(8);
  });

  it("gives the same sampled answer alone and among eight others", async () => {
    const [sampled] = questions.slice(2);
    const strangers = Array.from({ length: 8 }, (_, index) => first.ask({ prompt: `Count to ${index + 3} and then tell me why.`, maxTokens: 40, temperature: 1, seed: index }));
    const among = await first.ask(sampled!);
    await Promise.all(strangers);
    expect(differences(among, alone[2]!)).toEqual([]);
  });

  it("serves 64 streams, a third of them broken off by their clients, and gets everything back", async () => {
    const round = async (): Promise<void> => {
      const outcomes = await Promise.all(Array.from({ length: 64 }, async (_, index) => {
        const gone = new AbortController();
        const leaves = index % 3 === 0;
        const maxTokens = 4 + ((index * 7) % 29);
        try {
          const answer = await first.ask({ prompt: `Tell me something about the number ${index}.`, maxTokens }, { signal: gone.signal, onText: (count) => { if (leaves && count >= 2) gone.abort(); } });
          return answer.completionTokens === maxTokens ? "complete" : "short";
        } catch (error) {
          if (leaves && error instanceof AnswerFailed) return "left";
          throw error;
        }
      }));
      expect(outcomes.filter((outcome) => outcome === "short")).toEqual([]);
      expect(outcomes.filter((outcome) => outcome === "complete").length).toBeGreaterThanOrEqual(42);
      await until("every sequence has gone", async () => await gauge(first, "minid_requests_running") === 0 && await gauge(first, "minid_requests_waiting") === 0 && await gauge(first, "minid_kv_tokens_reserved") === 0);
    };
    const residentBytes = async () => (await first.status()).devices.find((device) => device.self)?.worker?.rss_bytes ?? 0;
    await round();
    const plateau = await residentBytes();
    await round();
    expect(await residentBytes()).toBeLessThan(plateau * 1.15);
  }, 400_000);

  it("computes the same text over two nodes, asked through either", async () => {
    second.start(await first.token());
    await cluster.ready();
    for (const [index, question] of questions.entries()) {
      expect(differences(await first.ask(question), alone[index]!)).toEqual([]);
      expect(differences(await second.ask(question), alone[index]!)).toEqual([]);
    }
  });

  it("tells in the documented shape what the ring is", async () => {
    const info = await (await fetch(`${second.url}/distributed/gpu-info`)).json() as { cluster_info: object; devices: { device_id: string; rank: number; role: string; hostname: string; status: string }[] };
    expect(info.cluster_info).toEqual({ total_devices: 2, healthy_devices: 2, world_size: 2, gRPC_communication: "Active" });
    expect(info.devices.map(({ rank, role, status }) => ({ rank, role, status }))).toEqual([{ rank: 0, role: "coordinator", status: "healthy" }, { rank: 1, role: "worker", status: "healthy" }]);
    const plan = await (await fetch(`${first.url}/distributed/plan`)).json() as { ranks: { layers: [number, number] }[] };
    expect(plan.ranks.map((rank) => rank.layers).reduce((end, [from, to]) => { expect(from).toBe(end); return to; }, 0)).toBe(30);
  });

  it("leaves nothing behind after Ctrl-C, with exit code 0", async () => {
    expect(await second.stop()).toBe(0);
    await cluster.ready();
    expect(differences(await first.ask(questions[0]!), alone[0]!)).toEqual([]);
  });
});
