/** What the machines of a cluster said of themselves, side by side. Gathered by `daemon/doctor/examine.ts`, judged by `cluster-checks.ts`. */
import type { LinkLook } from "./link-facts.js";

export interface MachineWord {
  readonly device: string;
  readonly nodeId: string;
  readonly software: string;
  /** Its wall clock against the asker's, the way there and back taken out; undefined: it is the asker. */
  readonly clockAheadMs: number | undefined;
  /** How far that may be off: half the time the answer took. */
  readonly clockUncertainMs: number;
  /** What it is configured to serve. */
  readonly modelId: string;
  /** Whom it takes for rank 0; undefined: nobody, or its agent is down. */
  readonly leader: string | undefined;
  /** SHA-256 of each weight file, when the whole model was read. */
  readonly digests: Readonly<Record<string, string>>;
}

export interface ClusterLook {
  readonly machines: readonly MachineWord[];
  readonly links: readonly LinkLook[];
  /** Admitted by the records, not forgotten, and neither met nor known by an address. */
  readonly unmet: readonly string[];
}
