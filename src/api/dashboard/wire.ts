/**
 * What this page reads of `/distributed/status`. A narrower copy of src/daemon/status.ts, because the page is compiled for browsers
 * and imports nothing of the agent; a test checks that what the agent sends is assignable to it.
 */

export interface Device {
  readonly device_id: string;
  readonly node_id: string;
  readonly rank: number | null;
  readonly role: "coordinator" | "worker";
  readonly status: "healthy" | "loading" | "unhealthy" | "suspect" | "dead" | "left" | "draining" | "incompatible";
  readonly self: boolean;
  readonly layers: readonly [number, number] | null;
  readonly agent: { readonly version: string; readonly last_heard_ms: number };
  readonly worker: { readonly pid: number | null; readonly phase: string; readonly restarts: number; readonly healthy: boolean; readonly error: string; readonly engine: string } | null;
  readonly platform: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly load: { readonly busy_ratio: number; readonly cpu_cores: number; readonly steps_per_second: number; readonly rss_bytes: number; readonly kv_bytes: number } | null;
}

export interface TimelineEvent {
  readonly id: string;
  readonly at_ms: number;
  readonly kind: string;
  readonly severity: "info" | "warning" | "error";
  readonly device_id: string;
  readonly seen_by: readonly string[];
  readonly text: string;
  readonly took_ms: number | null;
  readonly phases: readonly { readonly name: string; readonly ms: number }[];
  readonly count: number;
}

export interface Live {
  readonly requests_running: number;
  readonly requests_waiting: number;
  readonly tokens_per_second: number;
  readonly prefill_tokens_per_second: number;
  readonly kv_use_ratio: number;
  readonly step_ms: number | null;
  readonly hop_ms: number | null;
  readonly ranks: readonly { readonly rank: number; readonly compute_ms: number }[];
  readonly first_token_ms: number | null;
  readonly inter_token_ms: number | null;
}

export interface Status {
  readonly node: { readonly device_id: string; readonly version: string };
  readonly cluster: { readonly name: string };
  readonly ready: boolean;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
  readonly leader: { readonly device_id: string } | null;
  readonly epoch: { readonly counter: number } | null;
  readonly world_size: number;
  readonly model: { readonly id: string };
  readonly plan: { readonly version: number; readonly why: string } | null;
  readonly devices: readonly Device[];
  readonly conditions: readonly { readonly code: string; readonly severity: "info" | "warning" | "error"; readonly message: string; readonly remedy: string; readonly device_id?: string }[];
  readonly draining: boolean;
  readonly live: Live | null;
  readonly events: readonly TimelineEvent[];
}
