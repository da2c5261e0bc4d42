/** What never reaches a route, in OpenAI's error shape all the same: unknown addresses, wrong methods, bytes that are not HTTP. */
import type { Socket } from "node:net";
import type { ConnectionError } from "fastify";
import type { FastifyInstance, HTTPMethods } from "fastify";
import { MinidError } from "../core/errors.js";
import { errorBody, errorHeaders } from "./error-response.js";

const methods: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Collects the routes made after it. @returns a function that refuses every other method on them with 405 and `Allow`. */
export function watchMethods(server: FastifyInstance): () => void {
  const known = new Map<string, Set<string>>();
  server.addHook("onRoute", (route) => {
    const allowed = known.get(route.url) ?? new Set();
    for (const method of [route.method].flat()) allowed.add(method);
    known.set(route.url, allowed);
  });
  return () => {
    for (const [url, allowed] of known) {
      const allow = [...allowed].join(", ");
      const method = methods.filter((each) => !allowed.has(each));
      server.route({
        method, url, exposeHeadRoute: false,
        // Before the body is looked at: its type and size do not matter any more.
        onRequest: async (request, reply) => {
          reply.header("allow", allow);
          throw new MinidError("method_not_allowed", `${request.method} is not possible on ${url}. It takes ${allow}.`);
        },
        handler: () => undefined,
      });
    }
  };
}

export function unknownAddress(method: string, url: string): MinidError {
  return new MinidError("not_found", `Invalid URL (${method} ${url.split("?")[0]!.slice(0, 200)})`);
}

/** Node could not read a request. The socket is answered by hand, if nothing has been sent on it, and closed. */
export function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET" || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const refusal = connectionRefusal(error.code);
  const body = JSON.stringify(errorBody(refusal));
  const headers = { "content-type": "application/json; charset=utf-8", "content-length": String(Buffer.byteLength(body)), connection: "close", ...errorHeaders(refusal) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  socket.end(`HTTP/1.1 ${refusal.httpStatus} Refused\r\n${lines}\r\n${body}`);
}

function connectionRefusal(code: string): MinidError {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return new MinidError("request_timeout", "The request did not arrive in time. Send it without long pauses.");
  if (code === "HPE_HEADER_OVERFLOW") return new MinidError("malformed_request", "The request's headers are larger than this server accepts.");
  return new MinidError("malformed_request", "What was received is not a valid HTTP request.");
}

/** Clients announce JSON on every request of theirs, a DELETE without a body too. Elsewhere an empty body stays an error. */
export function acceptEmptyDeletes(server: FastifyInstance): void {
  const parse = server.getDefaultJsonParser("error", "error");
  server.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "" && request.method === "DELETE") done(null, undefined);
    else void parse(request, body as string, done);
  });
}
