/** What a full line tells, over minutes of overload in virtual time: told times must come true, and the line must not run dry. */
import { describe, expect, it } from "vitest";
import { AdmissionQueue } from "../../../../src/daemon/inference/admission-queue.js";
import type { SubmittedRequest } from "../../../../src/daemon/inference/scheduler-types.js";
import { Sequence } from "../../../../src/daemon/inference/sequence.js";
import { greedySampling } from "../../../../src/core/worker-protocol.js";
import { Random } from "../../../chaos/random.js";

interface Outcome { readonly told: number; readonly kept: number; readonly longestSeconds: number; readonly served: number; readonly dry: number }

const lookMs = 10;

/** One place becomes free every `serviceMs`; newcomers come at four times that pace. @param patient share of those sent away that comes back when told to. */
function overload({ patient, minutes = 10, serviceMs = 250, max = 64, seed = 1 }: { patient: number; minutes?: number; serviceMs?: number; max?: number; seed?: number }): Outcome {
  const random = new Random(seed);
  const queue = new AdmissionQueue(max);
  const waiting: Sequence[] = [];
  const back = new Map<number, SubmittedRequest[]>();
  let [id, told, kept, served, dry, longestSeconds] = [0, 0, 0, 0, 0, 0];
  const arrive = (request: SubmittedRequest, nowMs: number, again: boolean): void => {
    if (queue.full(request, nowMs)) {
      const seconds = queue.retryAfterSeconds(request, nowMs);
      longestSeconds = Math.max(longestSeconds, seconds);
      const atMs = nowMs + seconds * 1_000 + lookMs * Math.floor(random.between(0, 30));
      if (random.chance(patient)) back.set(atMs, [...back.get(atMs) ?? [], request]);
    } else {
      if (again) kept += 1;
      const sequence = new Sequence((id += 1), request, { submittedMs: nowMs, orderMs: nowMs }, { replay: "prefill", lengthMax: 100 });
      queue.push(sequence);
      waiting.push(sequence);
    }
    if (again) told += 1;
  };
  let nextMs = 0;
  let freeMs = serviceMs;
  for (let nowMs = 0; nowMs < minutes * 60_000; nowMs += lookMs) {
    for (; nextMs <= nowMs; nextMs += random.between(0, serviceMs / 2)) arrive({ prompt: [1, Math.floor(random.next() * 1e9)], emitted: [], sampling: greedySampling, maxTokens: 9, stopTokens: [] }, nowMs, false);
    for (const request of back.get(nowMs) ?? []) arrive(request, nowMs, true);
    back.delete(nowMs);
    if (nowMs < freeMs) continue;
    freeMs += serviceMs;
    if (queue.head) { queue.shift(); served += 1; queue.finished(nowMs, 0); } else if (nowMs > 60_000) dry += 1;
  }
  return { told, kept, longestSeconds, served, dry };
}

describe("Retry-After of a full line", () => {
  it.each([
    ["few come back", 0.98, { patient: 0.05 }], ["half of them come back", 0.98, { patient: 0.5 }], ["all come back", 0.98, { patient: 1, minutes: 4 }],
    ["the ring is slow", 0.98, { patient: 0.3, serviceMs: 2_000, max: 16 }],
    // It has less room to make up for chance.
    ["the line is short", 0.9, { patient: 0.3, max: 8 }],
  ])("is true under four times the load when %s", (_how, share, wanted) => {
    const { told, kept, dry } = overload(wanted);
    expect(told).toBeGreaterThan(20);
    expect(kept / told).toBeGreaterThan(share);
    expect(dry).toBe(0);
  });

  it("never lets the line run dry when nobody comes back", () => {
    for (const max of [1, 2, 8, 256]) expect(overload({ patient: 0, max, minutes: 5 }).dry).toBe(0);
  });

  it("is short when few come back, and as long as it takes when all do", () => {
    expect(overload({ patient: 0.05 }).longestSeconds).toBeLessThan(90);
    expect(overload({ patient: 1, minutes: 4 }).longestSeconds).toBeGreaterThan(120);
  });

  it("promises nothing further away than ten minutes", () => {
    expect(overload({ patient: 1, minutes: 30, serviceMs: 1_000, max: 8 }).longestSeconds).toBe(600);
  });
});
