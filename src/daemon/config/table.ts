/**
 * Every setting there is, in one table: key, type, default, unit, one line of doc. The same table reads the JSON file, the
 * environment (`MINID_` + the key in capitals) and the flags (`--key-with-dashes`), refuses unknown keys by name, and prints
 * docs/CONFIG.md. Rules between keys are in `load.ts`.
 */
import { hostname } from "node:os";
import { z } from "zod";

/** A peer named by hand, for networks without multicast. */
export const deviceSchema = z.strictObject({
  device_id: z.string().min(1).max(63),
  hostname: z.string().min(1).max(253),
  /** The worker's gRPC port. */
  port: z.int().min(1).max(65_535).default(50_051),
  agent_port: z.int().min(1).max(65_535).default(50_050),
  local_rank: z.int().min(0).max(1_000).optional(),
});
export type Device = z.infer<typeof deviceSchema>;

interface Setting<S extends z.ZodType> {
  readonly schema: S;
  /** How text from the environment or a flag becomes a value of the schema's input. */
  readonly from: "text" | "number" | "boolean" | "json";
  readonly unit?: string;
  readonly doc: string;
}

const text = <S extends z.ZodType>(schema: S, doc: string): Setting<S> => ({ schema, from: "text", doc });
const number = <S extends z.ZodType>(schema: S, unit: string, doc: string): Setting<S> => ({ schema, from: "number", unit, doc });
const boolean = (value: boolean, doc: string) => ({ schema: z.boolean().default(value), from: "boolean" as const, doc });
const json = <S extends z.ZodType>(schema: S, doc: string): Setting<S> => ({ schema, from: "json", doc });

const port = (value: number) => z.int().min(1).max(65_535).default(value);
const ms = (value: number, min = 1, max = 86_400_000) => z.int().min(min).max(max).default(value);
const count = (value: number, min: number, max: number) => z.int().min(min).max(max).default(value);

/** `mini1.local` → `mini1`: the name people know the machine by. */
const machineName = (): string => hostname().replace(/\..*$/u, "").slice(0, 63) || "minid";

export const table = {
  // who and where
  device_id: text(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/u, "letters, digits, dot, dash and underscore, at most 63").default(machineName), "This machine's name in the cluster; default: its host name."),
  http_host: text(z.string().min(1).default("::"), "Address the HTTP API listens on; :: is every address, where callers from other machines need a key, and 127.0.0.1 is this machine only."),
  http_port: number(port(8100), "", "Port of the HTTP API."),
  grpc_host: text(z.string().min(1).default("0.0.0.0"), "Address the agent's and the worker's gRPC listen on."),
  agent_port: number(port(50_050), "", "Port of the gRPC between agents."),
  worker_port: number(port(50_051), "", "Port of the worker's gRPC."),
  advertise_host: text(z.string().min(1).optional(), "Address at which the other machines reach this one; default: found by itself."),
  devices: json(z.array(deviceSchema).max(64).default([]), "Peers by name, for networks without multicast; the first is preferred as rank 0."),
  local_rank: number(z.int().min(0).max(1_000).optional(), "", "Preference for becoming rank 0: lower is preferred. Also read from LOCAL_RANK."),
  cluster_name: text(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/u, "letters, digits, dot, dash and underscore, at most 63").default("minid"), "Name of the cluster that this machine founds."),
  mdns: boolean(true, "Find and announce machines by multicast DNS."),
  mdns_interface: text(z.string().min(1).optional(), "Only this interface's address for multicast DNS (an IPv4 address)."),
  // who may ask
  http_allowed_hosts: json(z.array(z.string().min(1).max(253).toLowerCase()).max(64).default([]), "Further names by which callers without a key may ask for this machine, against DNS rebinding; .example.com is all below it, * any."),
  http_cors_origins: json(z.array(z.string().min(1).max(300)).max(64).default([]), "Origins of web pages that may use the API, like https://chat.example.com; * is any."),
  http_tls_cert: text(z.string().min(1).optional(), "PEM file of the certificate (and chain) for HTTPS; without it the API is plain HTTP."),
  http_tls_key: text(z.string().min(1).optional(), "PEM file of that certificate's key. Both are read again when they change."),
  http_connections_max: number(count(4_096, 16, 65_536), "", "Open connections to the HTTP API; one address from elsewhere may hold half of them."),
  http_receive_timeout_ms: number(ms(60_000, 100, 3_600_000), "ms", "Longest that a request's headers and body may take to arrive; headers alone have 10 s at most."),
  key_concurrent_requests: number(z.int().min(1).max(10_000).optional(), "", "Requests that one API key may have in flight on this node, unless the key says otherwise; default: no limit."),
  key_requests_per_minute: number(z.int().min(1).max(1_000_000_000).optional(), "", "Requests that one API key may begin in a minute on this node, unless the key says otherwise; default: no limit."),
  key_tokens_per_minute: number(z.int().min(1).max(1_000_000_000).optional(), "tokens", "Tokens, read and written, that one API key may spend in a minute on this node, unless the key says otherwise; default: no limit."),
  http_loopback_key: boolean(false, "Ask for an API key from this machine too, not only from others."),
  // what to run
  model: text(z.string().min(1).default("SmolLM2-135M-Instruct-8bit"), "The model to serve: a directory, or an id (org/name)."),
  hub_url: text(z.url({ protocol: /^https?$/u }).default("https://huggingface.co"), "Where `minid pull` fetches models: a Hugging Face compatible hub."),
  engine: text(z.enum(["auto", "onnx", "mlx"]).default("auto"), "Compute engine; auto is mlx on Apple silicon and onnx elsewhere."),
  worker_standby: boolean(true, "Keep a second worker process of about 90 MB that takes over at once when the first dies. Where half of the memory stays free beside it, it has the model's part at hand too."),
  numerics: text(z.enum(["fast", "precise", "exact"]).default("fast"), "Arithmetic: fast serves, precise is near float32, exact is float32 and slow."),
  threads: number(count(0, 0, 512), "", "Threads of the engine; 0: one per core."),
  memory_bytes_max: number(z.int().min(1 << 20).optional(), "bytes", "Memory minid may use for weights and cache on this machine; default: three quarters of it."),
  context_max: number(count(8_192, 16, 1 << 20), "tokens", "Longest sequence, prompt and answer together; the model's own limit is kept."),
  batch_max: number(count(8, 1, 64), "", "Sequences that compute together."),
  slots_max: number(count(16, 1, 256), "", "Sequences whose cache is kept at once, cached prefixes included."),
  prefill_chunk: number(count(128, 2, 128), "tokens", "Most prompt tokens of one sequence in one step."),
  queue_max: number(count(256, 1, 100_000), "", "Requests that may wait; one more is refused with 429."),
  // requests
  request_timeout_ms: number(ms(600_000, 100), "ms", "Deadline of a request that names none."),
  http_body_bytes_max: number(count(2 << 20, 1_024, 256 << 20), "bytes", "Largest request body."),
  sse_keepalive_ms: number(ms(5_000, 100), "ms", "Interval of the comments that keep a waiting stream's connection alive."),
  idempotency_keep_ms: number(ms(600_000, 1_000), "ms", "How long an answer with an Idempotency-Key can be asked for again after it was last worked on."),
  idempotency_keys_max: number(count(1_000, 1, 100_000), "", "Answers with an Idempotency-Key that this machine remembers; the oldest go first."),
  // failure detection
  heartbeat_interval_ms: number(ms(500, 20, 60_000), "ms", "Time between heartbeats."),
  suspect_after_ms: number(ms(2_000, 50, 600_000), "ms", "Silence after which a machine is suspected."),
  dead_after_ms: number(ms(4_000, 100, 600_000), "ms", "Silence after which a machine is planned around."),
  probe_interval_ms: number(ms(500, 20, 60_000), "ms", "Time between probes of the own worker."),
  step_timeout_ms: number(ms(30_000, 500, 600_000), "ms", "Longest a step of the ring may take before its sequences are resumed elsewhere."),
  drain_timeout_ms: number(ms(25_000, 0, 600_000), "ms", "Longest a leaving node waits for its stages to move and its clients' answers to end."),
  // telemetry
  otlp_endpoint: text(z.url({ protocol: /^https?$/u }).optional(), "OpenTelemetry collector (OTLP over HTTP, http://localhost:4318) that traces go to; default: none are made."),
  otlp_sample_ratio: number(z.number().min(0).max(1).default(1), "", "Share of the requests that are traced, 0 to 1; a client's own trace context decides for its requests."),
  metrics_vllm_names: boolean(false, "Show the common metrics under vLLM's names (vllm:*) too, for dashboards made for it."),
  keep_awake: boolean(true, "On a Mac: no idle sleep while minid runs (a power assertion; the machine's settings are not touched)."),
  // logs
  log_level: text(z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"), "Least severe log line that is written."),
  log_bytes_max: number(count(16 << 20, 64 << 10, 1 << 30), "bytes", "Size at which agent.log and worker.log each begin a new file."),
  log_files_max: number(count(5, 1, 100), "", "Files that are kept of each log, the current one included."),
  log_content: boolean(false, "Write prompts and answers into the agent's log; without it no text of a request is ever logged."),
} as const satisfies Record<string, Setting<z.ZodType>>;

export type SettingKey = keyof typeof table;
export type Config = Readonly<{ [K in SettingKey]: z.output<(typeof table)[K]["schema"]> }>;

export const settingKeys = Object.keys(table) as SettingKey[];
export const environmentName = (key: SettingKey): string => `MINID_${key.toUpperCase()}`;
export const flagName = (key: SettingKey): string => key.replaceAll("_", "-");
