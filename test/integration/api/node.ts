/** What the suites of this folder share: one real node, and ways to crowd it. */
import { setTimeout as delay } from "node:timers/promises";
import { type ClusterNode } from "../../support/cluster.js";
import { until } from "../../support/wait.js";

/** Small enough that a test can fill them; and nobody dies. */
export const settings = { "batch-max": 4, "queue-max": 24, "worker-standby": false } as const;

/** Of a crowd. */
const sentAway = 8;

export interface ServedNode { readonly node: ClusterNode; readonly model: string }
/** Known only once the tests run. */
export type Served = () => ServedNode;

export async function gauge(node: ClusterNode, name: string): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, "mu").exec(text)?.[1]);
}

export const idle = (node: ClusterNode) => until("the node is idle", async () => await gauge(node, "minid_requests_running") === 0 && await gauge(node, "minid_requests_waiting") === 0);

/** More long answers than run and wait at most: whoever of them is lost or sent away, the line stays full. @returns lets them go, and waits until they have gone. */
export async function crowd({ node, model }: ServedNode): Promise<() => Promise<void>> {
  const gone = new AbortController();
  const count = settings["batch-max"] + settings["queue-max"] + sentAway;
  const body = JSON.stringify({ model, stream: true, ignore_eos: true, max_tokens: 4_000, messages: [{ role: "user", content: "Tell me everything." }] });
  // Places are kept for those who were sent away before, and may be refused to newcomers: they come back as they were told.
  const ask = async (): Promise<void> => {
    const response = await fetch(`${node.url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body, signal: gone.signal });
    if (response.status === 429) await delay(Number(response.headers.get("retry-after")) * 1_000, undefined, { signal: gone.signal });
    else await response.body?.pipeTo(new WritableStream());
  };
  const asked = Array.from({ length: count }, async () => { while (!gone.signal.aborted) await ask().catch(() => undefined); });
  await until("the line is full", async () => await gauge(node, "minid_requests_running") >= settings["batch-max"] && await gauge(node, "minid_requests_waiting") >= settings["queue-max"]);
  return async () => {
    gone.abort();
    await Promise.all(asked);
    await idle(node);
  };
}

export const hi = [{ role: "user" as const, content: "Say hi." }];
export const citySchema = { type: "object", properties: { city: { type: "string", maxLength: 12 }, degrees: { type: "integer", minimum: -40, maximum: 50 } }, required: ["city", "degrees"], additionalProperties: false } as const;
export const weatherSchema = { type: "object", properties: { city: { type: "string", maxLength: 12 } }, required: ["city"], additionalProperties: false } as const;

/** What a document of `citySchema` must be. */
export function isCity(value: unknown): boolean {
  const { city, degrees } = value as { readonly city?: unknown; readonly degrees?: unknown };
  return typeof city === "string" && city.length <= 12 && Number.isInteger(degrees) && Math.abs(Number(degrees)) <= 50;
}
