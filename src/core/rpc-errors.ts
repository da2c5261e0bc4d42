/**
 * Catalogued errors across gRPC: the status comes from the catalogue, the code travels in the trailer `minid-code`, the
 * message in the status details. What arrives without a code is a transport's failure and is told by its status alone.
 */
import grpc from "@grpc/grpc-js";
import { MinidError, type ErrorCode, isErrorCode, toMinidError } from "./errors.js";

const codeKey = "minid-code";
const retryAfterKey = "minid-retry-after-seconds";
const paramKey = "minid-param";

function statusOf(number: number): grpc.status {
  const found = Object.values(grpc.status).find((value) => Number(value) === number);
  return typeof found === "number" ? found : grpc.status.INTERNAL;
}

/** Whatever was thrown, as the status that ends a call. */
export function toStatus(thrown: unknown): Partial<grpc.StatusObject> & { readonly code: grpc.status } {
  const error = toMinidError(thrown);
  const metadata = new grpc.Metadata();
  metadata.set(codeKey, error.code);
  if (error.retryAfterSeconds !== undefined) metadata.set(retryAfterKey, String(error.retryAfterSeconds));
  // Metadata values are header values: printable ASCII only.
  if (error.param !== undefined && /^[\x20-\x7e]*$/.test(error.param)) metadata.set(paramKey, error.param);
  return { code: statusOf(error.grpcStatus), details: error.message, metadata };
}

/** The same, as the Error that `call.destroy` and unary callbacks want. */
export function toServiceError(thrown: unknown): Error & Partial<grpc.StatusObject> {
  const status = toStatus(thrown);
  return Object.assign(new Error(status.details ?? ""), status);
}

/**
 * @param fallback the code when the peer sent none and the status does not say enough: what losing this peer means to the caller.
 */
export function fromServiceError(error: Error & Partial<grpc.StatusObject>, fallback: ErrorCode): MinidError {
  const code = error.metadata?.get(codeKey)[0];
  const details = error.details ?? error.message;
  if (typeof code === "string" && isErrorCode(code)) {
    const retryAfter = Number(error.metadata?.get(retryAfterKey)[0] ?? Number.NaN);
    const param = error.metadata?.get(paramKey)[0];
    return new MinidError(code, details, { cause: error, ...(Number.isFinite(retryAfter) ? { retryAfterSeconds: retryAfter } : {}), ...(typeof param === "string" ? { param } : {}) });
  }
  switch (error.code) {
    case grpc.status.DEADLINE_EXCEEDED: return new MinidError("deadline_exceeded", details, { cause: error });
    case grpc.status.CANCELLED: return new MinidError("cancelled", details, { cause: error });
    default: return new MinidError(fallback, details, { cause: error });
  }
}
