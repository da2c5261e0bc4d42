/**
 * The open connections and what is in flight on each. Lets `close()` end soon: once it begins, connections without a request in flight
 * are closed, the others with their last answer. Node's own notion of an idle connection leaves out those that have never sent a request,
 * and keeps the busy ones for their keep-alive time.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { FastifyInstance } from "fastify";

export interface OpenConnections {
  /** Closing has begun. */
  readonly closing: boolean;
  /** Requests that came over the connection before this one and are not answered yet. */
  inFlight(socket: Socket): number;
}

export function watchConnections(server: FastifyInstance): OpenConnections {
  /** What is not answered yet on every open connection. */
  const unanswered = new Map<Socket, Set<ServerResponse>>();
  let closing = false;
  // Under TLS a request's socket is the secured one; those that are still shaking hands have a time of their own.
  const secured = server.server instanceof TlsServer;
  if (secured) server.server.on("connection", (socket: Socket) => { if (closing) socket.destroy(); });
  server.server.on(secured ? "secureConnection" : "connection", (socket: Socket) => {
    const responses = new Set<ServerResponse>();
    unanswered.set(socket, responses);
    socket.once("close", () => {
      unanswered.delete(socket);
      // Node tells only the response that is being written. Those queued behind it (pipelining) would never hear that their client
      // went away, and compute to the end.
      for (const response of responses) if (response.socket === null) response.destroy().emit("close");
    });
  });
  server.server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const responses = unanswered.get(socket);
    responses?.add(response);
    response.once("close", () => {
      responses?.delete(response);
      if (closing && responses?.size === 0) socket.destroySoon();
    });
  });
  server.addHook("preClose", async () => {
    closing = true;
    for (const [socket, responses] of unanswered) if (responses.size === 0) socket.destroy();
  });
  return {
    get closing() { return closing; },
    inFlight: (socket) => unanswered.get(socket)?.size ?? 0,
  };
}
