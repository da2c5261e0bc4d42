/**
 * What a node tells the others of how it is doing and of what it saw: a message beside those of the cluster's core, on the same
 * streams. The core does not know it and never waits for it; one that is lost is replaced by the next. A version that does not know
 * bulletins drops them. Its sender is the certificate's node id.
 */
import { z } from "zod";
import { MEMBERS_MAX } from "../cluster/messages.js";
import { type TimelineEvent, eventTextMax, ownEventsMax, timelineKinds } from "./timeline.js";
import type { Vitals } from "./vitals.js";

export interface Bulletin {
  readonly type: "bulletin";
  readonly vitals: Vitals;
  /** All that the sender keeps of its own; left out while there is nothing new. */
  readonly events?: readonly TimelineEvent[];
}

const amount = z.number().min(0);
const name = z.string().max(256);
const event: z.ZodType<TimelineEvent> = z.object({
  id: name, at_ms: amount, kind: z.enum(timelineKinds), severity: z.enum(["info", "warning", "error"]), device_id: name, seen_by: z.array(name).max(MEMBERS_MAX), text: z.string().max(eventTextMax),
  took_ms: amount.nullable(), phases: z.array(z.object({ name, ms: amount })).max(8), count: z.int().min(1),
});
const vitals: z.ZodType<Vitals> = z.object({
  worker: z.object({ busy_ratio: amount, cpu_cores: amount, steps_per_second: amount, rss_bytes: amount, kv_bytes: amount }).nullable(),
  door: z.object({ tokens_per_second: amount, first_token_ms: amount.nullable(), inter_token_ms: amount.nullable(), answers: amount }),
  ring: z.object({
    requests_running: amount, requests_waiting: amount, tokens_per_second: amount, prefill_tokens_per_second: amount, kv_use_ratio: amount, step_ms: amount.nullable(), hop_ms: amount.nullable(),
    ranks: z.array(z.object({ rank: amount, compute_ms: amount })).max(MEMBERS_MAX),
  }).nullable(),
});
const bulletin = z.object({ type: z.literal("bulletin"), vitals, events: z.array(event).max(ownEventsMax).optional() });

/** @returns undefined for what is no bulletin, or breaks a bound. */
export function parseBulletin(value: unknown): Bulletin | undefined {
  const parsed = bulletin.safeParse(value);
  if (!parsed.success) return undefined;
  const { events, ...rest } = parsed.data;
  return { ...rest, ...(events ? { events } : {}) };
}
