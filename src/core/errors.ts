/**
 * What the world does to us, as a catalogue: every error that leaves a process has a code of this table, and the
 * table says whether a client may try again and which HTTP and gRPC status carries it.
 * `docs/ERRORS.md` is generated from here; a test keeps the two together. Our own bugs are `invariant.ts`'s.
 */

/** gRPC status codes, https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
export const GrpcStatus = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

interface CatalogueEntry {
  /** HTTP status of a response that fails with this code. */
  readonly http: number;
  /** OpenAI's `error.type`. */
  readonly type: "invalid_request_error" | "not_found_error" | "rate_limit_error" | "authentication_error" | "permission_error" | "server_error";
  readonly grpc: number;
  /** True when the same request may succeed later, unchanged. */
  readonly retryable: boolean;
  /** One sentence: what happened. */
  readonly meaning: string;
  /** One sentence: what to do. */
  readonly remedy: string;
}

const entry = (http: number, type: CatalogueEntry["type"], grpc: number, retryable: boolean, meaning: string, remedy: string): CatalogueEntry =>
  ({ http, type, grpc, retryable, meaning, remedy });

export const catalogue = {
  // --- a client's request
  invalid_json: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The request body is not valid JSON.", "Send a JSON object with Content-Type: application/json."),
  invalid_value: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "A field of the request has a value of the wrong type or out of range.", "Correct the field that `param` names."),
  missing_required_parameter: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "A required field is missing.", "Add the field that `param` names."),
  unknown_parameter: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The request has a field that this endpoint does not know.", "Leave out the field that `param` names, or correct its spelling."),
  unsupported_parameter: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The request asks for something this server does not do.", "Leave out the field that `param` names."),
  context_length_exceeded: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The prompt does not fit the model's context.", "Shorten the messages."),
  request_too_large: entry(413, "invalid_request_error", GrpcStatus.resourceExhausted, false, "The request body is larger than the server accepts.", "Send less, or raise http_body_bytes_max."),
  unsupported_media_type: entry(415, "invalid_request_error", GrpcStatus.invalidArgument, false, "The request body is not announced as JSON.", "Send Content-Type: application/json."),
  malformed_request: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The bytes received are not a valid HTTP request, or its address cannot be decoded.", "Correct the request line, the headers or the address."),
  request_timeout: entry(408, "invalid_request_error", GrpcStatus.deadlineExceeded, true, "The request's headers or body did not arrive in time.", "Send the whole request without long pauses."),
  model_not_found: entry(404, "not_found_error", GrpcStatus.notFound, false, "No model of that name is configured here.", "List the models with GET /v1/models."),
  not_found: entry(404, "not_found_error", GrpcStatus.notFound, false, "There is nothing at that address.", "See the routes in README.md."),
  method_not_allowed: entry(405, "invalid_request_error", GrpcStatus.unimplemented, false, "That address does not take this HTTP method.", "Use the method that the Allow header names."),
  invalid_api_key: entry(401, "authentication_error", GrpcStatus.unauthenticated, false, "From another machine an API key is needed, and none came, or one that is unknown, revoked or expired.", "Send Authorization: Bearer KEY with a key that `minid key create` made."),
  insufficient_scope: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "The API key is for something else than what the request asks for.", "Use a key with the scope that the message names."),
  idempotency_key_reused: entry(422, "invalid_request_error", GrpcStatus.failedPrecondition, false, "The Idempotency-Key was used for a different request.", "Send the same body as before, or a new key."),
  superseded: entry(409, "invalid_request_error", GrpcStatus.aborted, false, "Another connection took this answer over.", "Read on there: one connection at a time gets an answer with an Idempotency-Key."),
  answer_diverged: entry(409, "server_error", GrpcStatus.dataLoss, false, "The answer cannot be continued exactly where the client left off.", "Ask again with a new Idempotency-Key."),
  host_not_allowed: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "A caller without a key named a host that is not this machine: a web page's trick to reach it (DNS rebinding), or a name minid does not know.", "Use an address or localhost, send an API key, or add the name to http_allowed_hosts."),
  origin_not_allowed: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "A web page of another origin called the API.", "Add the page's origin to http_cors_origins."),
  // --- capacity and time
  queue_full: entry(429, "rate_limit_error", GrpcStatus.resourceExhausted, true, "More requests are waiting than the queue holds.", "Wait for the time that Retry-After gives, then try again."),
  rate_limit_exceeded: entry(429, "rate_limit_error", GrpcStatus.resourceExhausted, true, "The API key has reached one of its limits.", "Wait for the time that Retry-After gives, then try again."),
  deadline_exceeded: entry(504, "server_error", GrpcStatus.deadlineExceeded, true, "The request's deadline passed before the answer was complete.", "Try again, or give it more time."),
  cancelled: entry(499, "invalid_request_error", GrpcStatus.aborted, true, "The client went away.", "Nothing to do."),
  // --- the cluster
  not_ready: entry(503, "server_error", GrpcStatus.unavailable, true, "No stage ring is ready to compute yet.", "Wait: /health says what is missing."),
  no_leader: entry(503, "server_error", GrpcStatus.unavailable, true, "The cluster has no rank 0 at this moment.", "Wait: an election takes seconds."),
  model_does_not_fit: entry(503, "server_error", GrpcStatus.failedPrecondition, true, "The healthy machines together have too little memory for the model.", "Bring a machine back, add one, or configure a smaller model."),
  stage_lost: entry(503, "server_error", GrpcStatus.unavailable, true, "A stage of the ring was lost while it computed.", "The front door resumes by itself; otherwise try again."),
  stale_epoch: entry(409, "server_error", GrpcStatus.failedPrecondition, true, "The call carries an older leadership epoch than one already accepted.", "The sender has been superseded; it finds the new rank 0 by itself."),
  draining: entry(503, "server_error", GrpcStatus.unavailable, true, "This node is leaving and takes no new work.", "Use another node, or wait until it is back."),
  // --- models
  model_unreadable: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "The model's files cannot be read.", "Check that the directory exists and is readable by minid's user."),
  model_corrupt: entry(500, "server_error", GrpcStatus.dataLoss, false, "The model's files contradict themselves or are damaged.", "Fetch the named file again."),
  model_unsupported: entry(500, "server_error", GrpcStatus.unimplemented, false, "The model's family, quantization or data type is not supported.", "Choose one of the families that README.md lists."),
  engine_unavailable: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "The engine's native library does not load on this machine.", "Install what the message names."),
  engine_failed: entry(500, "server_error", GrpcStatus.internal, true, "The engine reported an error while it computed.", "The worker is restarted; try again."),
  output_not_finite: entry(500, "server_error", GrpcStatus.internal, false, "A stage computed numbers that are not finite (NaN or infinity) for this request; requests beside it went on.", "The message names the layers: check that machine's model files with `minid verify`. Another prompt may work."),
  structured_output_failed: entry(500, "server_error", GrpcStatus.internal, false, "The answer could not be given the shape that the request asks for.", "Simplify the schema or the pattern, or give the answer more tokens."),
  out_of_kv: entry(503, "server_error", GrpcStatus.resourceExhausted, true, "A stage has no key-value memory left.", "Lower batch_max or give the stage more memory."),
  // --- set-up
  config_invalid: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "The configuration has an unknown key or an invalid value.", "Correct the key that the message names."),
  port_in_use: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "Another program listens on a port that minid needs.", "Stop that program or configure another port."),
  no_cluster: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "This home belongs to no cluster yet.", "Start it with `minid up`, or join a cluster with `minid join TOKEN`."),
  join_refused: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "A member of the cluster refused the join token.", "Make a new token with `minid token` on a member and use it before it expires."),
  join_unreachable: entry(503, "server_error", GrpcStatus.unavailable, true, "No member of the token's cluster could be reached.", "Check that a member is up and on this network, or name one with --peer HOST:PORT."),
  join_limited: entry(429, "rate_limit_error", GrpcStatus.resourceExhausted, true, "Too many attempts to join in a short time.", "Wait for the time that the message gives, then try again."),
  device_forgotten: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "This machine was removed from the cluster.", "Join again with a new token; the machine gets a new identity."),
  limit_reached: entry(409, "server_error", GrpcStatus.resourceExhausted, false, "A bound of the cluster's own records is reached.", "Do what the message says."),
  home_unusable: entry(500, "server_error", GrpcStatus.failedPrecondition, false, "minid's home directory cannot be used.", "Check that it is a directory which minid's user can write."),
  privilege_needed: entry(403, "permission_error", GrpcStatus.permissionDenied, false, "A system service can be installed and removed by root only.", "Run the same command with sudo."),
  step_failed: entry(500, "server_error", GrpcStatus.failedPrecondition, true, "A step of installing or removing minid failed.", "Correct what the message names and run the same command again: it goes on from there."),
  download_failed: entry(503, "server_error", GrpcStatus.unavailable, true, "The model hub could not be reached, or broke off.", "Check the network and pull again: what is here already is kept."),
  download_refused: entry(404, "not_found_error", GrpcStatus.notFound, false, "The model hub does not give what was asked for.", "Correct the model id, or set HF_TOKEN for a model that needs permission."),
  usage: entry(400, "invalid_request_error", GrpcStatus.invalidArgument, false, "The command line is not one that minid takes.", "See minid --help."),
  not_running: entry(503, "server_error", GrpcStatus.unavailable, true, "No agent of that home runs on this machine.", "Start it with: minid up"),
  internal_error: entry(500, "server_error", GrpcStatus.internal, true, "A bug of minid's own.", "Report it with the request id and the logs."),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

export interface ErrorDetails {
  /** The request field at fault, in OpenAI's path notation: `messages[0].role`. */
  readonly param?: string;
  /** Seconds after which a retry makes sense. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An error that may leave the process: it has a code of the catalogue, and a message that names field, value and remedy. */
export class MinidError extends Error {
  override readonly name = "MinidError";
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  get retryable(): boolean { return catalogue[this.code].retryable; }
  get httpStatus(): number { return catalogue[this.code].http; }
  get grpcStatus(): number { return catalogue[this.code].grpc; }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(catalogue, text);
}

/** Whatever was thrown, as an error that may leave the process. */
export function toMinidError(thrown: unknown): MinidError {
  if (thrown instanceof MinidError) return thrown;
  return new MinidError("internal_error", thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** The one line a person reads on a terminal. */
export function errorLine(thrown: unknown): string {
  const error = toMinidError(thrown);
  return `${error.code}: ${error.message}`;
}
