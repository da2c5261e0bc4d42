/** Errors in Anthropic's shape, with Anthropic's types; codes and messages are the catalogue's. */
import { catalogue, type MinidError } from "../../core/errors.js";
import type { ErrorEvent } from "../sse.js";

function typeOf(error: MinidError): string {
  switch (error.httpStatus) {
    case 413: return "request_too_large";
    case 503: return "overloaded_error";
    default: return catalogue[error.code].type === "server_error" ? "api_error" : catalogue[error.code].type;
  }
}

export const anthropicErrorBody = (error: MinidError, requestId: string) =>
  ({ type: "error", error: { type: typeOf(error), message: error.message, param: error.param ?? null, code: error.code }, request_id: requestId });

export const anthropicErrorEvent = (requestId: string): ErrorEvent => (error) => ({ event: "error", data: anthropicErrorBody(error, requestId) });
