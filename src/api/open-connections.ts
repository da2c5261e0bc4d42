/**
 * Lets `close()` end soon: once it begins, connections without a request in flight are closed, the others with their last answer.
 * Node's own notion of an idle connection leaves out those that have never sent a request, and keeps the busy ones for their keep-alive time.
 */
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/** @returns whether closing has begun */
export function closeWithLastAnswer(server: FastifyInstance): () => boolean {
  /** Requests in flight on every open connection. */
  const requests = new Map<Socket, number>();
  let closing = false;
  const change = (socket: Socket, by: 1 | -1) => {
    const before = requests.get(socket);
    if (before === undefined) return;
    requests.set(socket, before + by);
    if (closing && before + by === 0) socket.destroySoon();
  };
  server.server.on("connection", (socket) => {
    requests.set(socket, 0);
    socket.once("close", () => requests.delete(socket));
  });
  server.server.on("request", ({ socket }, response) => {
    change(socket, 1);
    response.once("close", () => change(socket, -1));
  });
  server.addHook("preClose", async () => {
    closing = true;
    for (const [socket, count] of requests) if (count === 0) socket.destroy();
  });
  return () => closing;
}
