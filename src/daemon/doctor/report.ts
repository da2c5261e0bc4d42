/** What one machine says of itself to whoever runs `minid doctor`: its findings, its word on the cluster, what it sees of the others. The wire's shape. */
import { z } from "zod";
import { type Finding, severities } from "../../checks/check.js";
import type { MachineWord } from "../../checks/cluster-facts.js";
import type { LinkLook } from "../../checks/link-facts.js";
import { MinidError } from "../../core/errors.js";

export interface MachineReport extends Omit<MachineWord, "clockAheadMs" | "clockUncertainMs"> {
  readonly wallMs: number;
  readonly findings: readonly Finding[];
  readonly links: readonly LinkLook[];
}

const textMax = 2_000;
const listMax = 1_000;
/** Larger than any report; a member is believed, but not without bound. */
export const reportBytesMax = 1 << 20;

const text = z.string().max(textMax);
const port = z.object({ port: z.int(), reach: z.enum(["answers", "refused_us", "expired", "stranger", "hung", "closed", "silent", "unroutable"]) });
const optional = <S extends z.ZodType>(schema: S) => schema.optional().transform((value) => value);

const linkSchema = z.object({
  from: text, to: text, host: text, agent: port, worker: optional(port), pings: optional(z.boolean()), rttMs: optional(z.number()), bytesPerSecond: optional(z.number()), selfRttMs: optional(z.number()), selfBytesPerSecond: optional(z.number()), platform: text,
}).transform((link): LinkLook => ({ ...link, worker: link.worker, pings: link.pings, rttMs: link.rttMs, bytesPerSecond: link.bytesPerSecond, selfRttMs: link.selfRttMs, selfBytesPerSecond: link.selfBytesPerSecond }));

const findingSchema = z.object({ code: text, severity: z.enum(severities), seen: text, meaning: text, remedy: text, device: text.optional() })
  .transform(({ device, ...finding }): Finding => ({ ...finding, ...(device === undefined ? {} : { device }) }));

const reportSchema = z.object({
  device: text, nodeId: text, software: text, wallMs: z.number(), modelId: text, leader: optional(text), digests: z.record(text, text),
  findings: z.array(findingSchema).max(listMax), links: z.array(linkSchema).max(listMax),
}).transform((report): MachineReport => ({ ...report, leader: report.leader }));

/** @throws MinidError invalid_value when it is no report, or one of a release that cannot be understood. */
export function parseReport(json: Buffer): MachineReport {
  if (json.length > reportBytesMax) throw new MinidError("invalid_value", `a report of ${json.length} bytes; at most ${reportBytesMax} can be sound`);
  let value: unknown;
  try { value = JSON.parse(json.toString("utf8")); } catch (error) { throw new MinidError("invalid_value", "the report is not JSON", { cause: error }); }
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) throw new MinidError("invalid_value", `the report is not of this release's form: ${parsed.error.issues[0]?.path.join(".") ?? ""} ${parsed.error.issues[0]?.message ?? ""}`);
  return parsed.data;
}
