/**
 * `minid_worker_engine_seconds`: a histogram whose counts are kept by another process. prom-client's own can only be told one
 * observation after the other; this one shows what the worker's last answer to Probe has counted, and nothing while it is gone.
 */
import { Histogram } from "prom-client";
import { type ProbeReply, computeSecondsBounds } from "../../core/worker-protocol.js";

const name = "minid_worker_engine_seconds";
const help = "One call of the engine by this node's worker: its stage's part of a step.";

interface Sample { readonly metricName: string; readonly labels: Readonly<Record<string, string | number>>; readonly sharedLabels: object; readonly value: number }

export class EngineSeconds extends Histogram {
  // Not private: exposition.ts reads through an object that inherits from this one.
  readonly worker: () => ProbeReply | undefined;

  constructor(worker: () => ProbeReply | undefined) {
    super({ name, help, buckets: [...computeSecondsBounds], registers: [] });
    this.worker = worker;
  }

  /** What prom-client's registry prints, and what its `get()` is made of. */
  getForPromString(): Promise<{ readonly name: string; readonly help: string; readonly type: "histogram"; readonly values: readonly Sample[] }> {
    return Promise.resolve({ name, help, type: "histogram", values: samples(this.worker()) });
  }
}

function samples(reply: ProbeReply | undefined): Sample[] {
  if (!reply) return [];
  const sample = (suffix: string, value: number, labels: Sample["labels"] = {}): Sample => ({ metricName: `${name}_${suffix}`, labels, sharedLabels: {}, value });
  let count = 0;
  const buckets = [...computeSecondsBounds, "+Inf" as const].map((le, index) => {
    count += reply.computeCounts[index] ?? 0;
    return sample("bucket", count, { le });
  });
  return [...buckets, sample("sum", reply.computeSecondsTotal), sample("count", count)];
}
