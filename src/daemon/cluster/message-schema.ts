/**
 * What of a peer's message may reach the core: its shape and its bounds, checked once where it comes off the wire. A member is
 * authenticated but may run another version; fields that this version does not know are dropped, and so are kinds of message.
 */
import { z } from "zod";
import { nodeId } from "../../core/ids.js";
import { ADDRESSES_MAX, TEXT_MAX } from "../membership/facts.js";
import { HOPS_MAX } from "../membership/membership.js";
import { type ClusterMessage, FORGOTTEN_MAX, MEMBERS_MAX } from "./messages.js";

const RANKS_MAX = MEMBERS_MAX;
const NAME_MAX = 256;

const count = z.int().min(0);
const amount = z.number().min(0);
const name = z.string().max(NAME_MAX);
const id = z.string().min(1).max(64).transform(nodeId);
const epoch = z.object({ counter: count, nodeId: z.string().max(64).transform(nodeId) });
const layers = z.object({ first: count, end: count });
const protocol = z.object({ min: count, max: count });
const envelope = { clusterId: name, clusterName: name, protocol, incarnation: count, seq: count };

const worker = z.object({
  pid: count.optional(), incarnation: name, phase: z.enum(["absent", "empty", "loading", "idle", "busy", "failed", "draining"]), restarts: count.optional(), acceptedEpoch: epoch,
  replay: z.enum(["prefill", "decode"]).optional(), loaded: z.object({ epoch, planVersion: count, layers: layers.optional() }).optional(),
  healthy: z.boolean(), crashLooping: z.boolean(), error: z.string().max(TEXT_MAX),
});
const facts = z.looseObject({
  version: z.int(), protocol, draining: z.boolean(), aside: z.boolean(), planless: z.object({ why: z.string(), upTo: count }).optional(), unheard: z.array(id).max(MEMBERS_MAX),
  deviceId: name, hostname: name, pid: count.optional(), addresses: z.array(name).max(ADDRESSES_MAX), agentPort: count, workerPort: count, httpPort: count, software: name, platform: name, engine: name,
  cores: amount, memoryBytes: amount, budgetBytes: amount, weightBytesPerSecond: amount.optional(), localRank: z.int().optional(), deviceIndex: z.int().optional(), worker,
});
const row = z.object({
  id, incarnation: z.int(), seq: z.int(), ageMs: amount, state: z.enum(["introduced", "alive", "suspect", "dead", "left"]), hops: count.max(HOPS_MAX + 1), factsVersion: z.int(), leads: epoch.optional(),
});
const model = z.object({ modelId: z.string().max(1_024), layerCount: count, layerBytes: amount, embedBytes: amount, headBytes: amount, tied: z.boolean(), kvBytesPerTokenLayer: amount, contextMax: count });
const plan = z.object({
  epoch, version: count, model, slots: count, contextMax: count, batchMax: count, kvTokensMax: count, stepMs: amount, why: z.string(),
  ranks: z.array(z.object({ rank: count, nodeId: id, deviceId: name, layers, ownsText: z.boolean(), workerAddresses: z.array(name).max(ADDRESSES_MAX), weightBytes: amount, kvBytesMax: amount, stepMs: amount })).min(1).max(RANKS_MAX),
});

const message = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("heartbeat"), ...envelope, wallMs: z.number(), leads: epoch.optional(), plan: z.object({ epoch, version: count }).optional(), facts: facts.optional(), factsVersion: z.int(),
    rows: z.array(row).max(MEMBERS_MAX), relayed: z.array(z.object({ id, incarnation: z.int(), facts })).max(MEMBERS_MAX).optional(), forgotten: z.array(id).max(FORGOTTEN_MAX),
  }),
  z.object({ type: z.literal("plan"), ...envelope, plan }),
  z.object({ type: z.literal("probe"), ...envelope, origin: id }),
  z.object({ type: z.literal("probe-ack"), ...envelope, origin: id, echoIncarnation: count, echo: count, leads: epoch.optional() }),
  z.object({ type: z.literal("probe-request"), ...envelope, target: id }),
  z.object({ type: z.literal("probe-report"), ...envelope, row }),
  z.object({ type: z.literal("leave"), ...envelope }),
]);

/** @returns undefined for what is no message of a kind known here, or breaks a bound. */
export function parseMessage(value: unknown): ClusterMessage | undefined {
  const parsed = message.safeParse(value);
  // zod's optional fields may be present and undefined, ours are then absent; nothing reads the difference.
  return parsed.success ? parsed.data as ClusterMessage : undefined;
}
