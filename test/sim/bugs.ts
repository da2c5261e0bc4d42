/** Known bugs, planted from outside into the real cores, to prove that the simulation would find them. */
import type { ClusterInit, ClusterMachine } from "../../src/daemon/cluster/contract.js";

export interface Bug {
  readonly core?: (init: ClusterInit) => ClusterMachine;
  /** The driver says `persisted` before the disk has it. */
  readonly persistedTooEarly?: boolean;
  readonly workerAcceptsOlder?: boolean;
}

export const noBug: Bug = {};
