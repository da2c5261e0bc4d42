/**
 * What the front door is told about the cluster: one read-only view of the status snapshot, whatever its origin.
 * Every call answers from memory at once; nothing here asks another machine while a client waits.
 */

export interface HealthReason {
  /** A condition's code or an error code of the catalogue. */
  readonly code: string;
  /** For people: what is wrong and what to do. */
  readonly message: string;
}

export interface Health {
  /** True when a request would be served now. */
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reasons: readonly HealthReason[];
}

export interface DeviceSummary {
  readonly deviceId: string;
  /** null: holds no stage of the current plan. */
  readonly rank: number | null;
  readonly role: "coordinator" | "worker";
  readonly hostname: string;
  /** `healthy`, or the word for what it is instead: `unhealthy`, `unreachable`, `loading`. */
  readonly status: string;
  /** Further fields for `/distributed/gpu-info`, already in the wire's snake_case; they never replace the documented ones. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export interface ClusterInfo {
  readonly totalDevices: number;
  readonly healthyDevices: number;
  readonly worldSize: number;
  /** True while the stages of the ring (or the only worker) answer over gRPC. */
  readonly grpcActive: boolean;
}

export interface StatusSource {
  health(): Health;
  clusterInfo(): ClusterInfo;
  /** In order of rank. */
  devices(): readonly DeviceSummary[];
  /** The whole snapshot, as `/distributed/status` prints it. */
  status(): object;
  /** The current plan as `/distributed/plan` prints it; undefined while there is none. */
  plan(): object | undefined;
  /** Prometheus' service-discovery document. @param askedAt the local address of the connection that asks. */
  metricsTargets(askedAt: string): readonly object[];
  /** @param accept the scraper's header: which format it wants. */
  metrics(accept: string | undefined): Promise<{ readonly contentType: string; readonly body: string }>;
}
