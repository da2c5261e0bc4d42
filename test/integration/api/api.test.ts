/** The HTTP API of one real node: other people's clients, unmodified, and what its answers must be. Python's clients: `npm run test:clients`. */
import { afterAll, beforeAll, describe } from "vitest";
import { type Cluster, startCluster } from "../../support/cluster.js";
import { answers } from "./answers.js";
import { anthropicClient } from "./anthropic.js";
import { type ServedNode, settings } from "./node.js";
import { openAiClient } from "./openai.js";
import { vercelClient } from "./vercel.js";

describe("a node's HTTP API", () => {
  let cluster: Cluster | undefined;
  let found: ServedNode | undefined;
  const served = (): ServedNode => {
    if (!found) throw new Error("the node did not start");
    return found;
  };
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 1, settings });
    const node = cluster.nodes[0]!;
    found = { node, model: (await node.status()).model.id };
  }, 300_000);
  afterAll(async () => { await cluster?.stop(); }, 120_000);

  answers(served);
  openAiClient(served);
  anthropicClient(served);
  vercelClient(served);
});
