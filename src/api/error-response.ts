/**
 * Every failure as OpenAI's error object, `{error: {message, type, param, code}}`, whether it is ours, fastify's or Node's.
 * What is not in the catalogue is our own bug: the client gets `internal_error` without its insides, the log gets all of it.
 */
import { catalogue, MinidError } from "../core/errors.js";
import type { Log } from "../core/log.js";

export interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string };
}

/** Seconds that a client is told to wait where the error itself does not know better: elections and reloads take seconds. */
const retryAfterDefaultSeconds = 2;

export function errorBody(error: MinidError): ErrorBody {
  return { error: { message: error.message, type: catalogue[error.code].type, param: error.param ?? null, code: error.code } };
}

/** `x-should-retry` is what OpenAI's and Anthropic's SDKs obey before they look at the status. */
export function errorHeaders(error: MinidError): Record<string, string> {
  const headers: Record<string, string> = { "x-should-retry": String(error.retryable) };
  if (error.httpStatus === 429 || error.httpStatus === 503) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(error.retryAfterSeconds ?? retryAfterDefaultSeconds)));
  }
  return headers;
}

/** @returns undefined when the thrown value is neither ours nor the client's doing. */
export function knownError(thrown: unknown): MinidError | undefined {
  if (thrown instanceof MinidError) return thrown;
  if (!(thrown instanceof Error)) return undefined;
  const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new MinidError("request_too_large", "The request body is larger than this server accepts (http_body_bytes_max).");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_INVALID_TYPE":
    case "FST_ERR_CTP_EMPTY_TYPE":
      return new MinidError("unsupported_media_type", "The request body is not announced as JSON. Send Content-Type: application/json.");
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
      return new MinidError("invalid_json", "The request body is empty. Send a JSON object.");
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return new MinidError("invalid_json", "The request body is not valid JSON.");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new MinidError("malformed_request", "The request body does not have the length that Content-Length announces.");
    // A request target that is no path: `GET here HTTP/1.1`.
    case "FST_ERR_NOT_FOUND":
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new MinidError("malformed_request", "The address of the request cannot be decoded.");
    default:
  }
  if (thrown instanceof SyntaxError && "statusCode" in thrown) return new MinidError("invalid_json", `The request body is not valid JSON: ${thrown.message}`);
  // The client's connection broke while its body was read.
  if (code === "ECONNRESET" || code === "ECONNABORTED") return new MinidError("cancelled", "The client went away.");
  return undefined;
}

/** What the client may see of whatever was thrown; our own bugs go to the log with all they have. */
export function publicError(thrown: unknown, requestId: string, log: Log): MinidError {
  const known = knownError(thrown);
  if (known !== undefined && known.code !== "internal_error") return known;
  log.error({ requestId, error: thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown) }, "a request met a bug");
  return new MinidError("internal_error", "minid met a bug of its own while answering. Report it with the x-request-id of this response and the logs.");
}
