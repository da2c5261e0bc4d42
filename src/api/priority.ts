/**
 * The `Priority` header (RFC 9218) on requests: an urgency of 5 to 7 (0 is most urgent, 3 the default) marks batch work, which waits
 * behind interactive requests. It does for every endpoint what `service_tier: "flex"` does for some.
 */
import type { GenerateRequest } from "../daemon/inference/generate.js";

const batchUrgencyMin = 5;

export function isBatch(header: string | string[] | undefined): boolean {
  const urgency = /(?:^|,)\s*u=([0-7])\s*(?:[,;]|$)/u.exec([header].flat().join(","))?.[1];
  return urgency !== undefined && Number(urgency) >= batchUrgencyMin;
}

export const withPriority = (generate: GenerateRequest, batch: boolean): GenerateRequest => (batch ? { ...generate, priority: "batch" } : generate);
