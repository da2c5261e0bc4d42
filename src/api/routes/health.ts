/** `GET /health`: 200 only when a request would be served now. `GET /health/live`: this process answers. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";

/** Seconds until asking again makes sense: repairs take a few. */
const retryAfterSeconds = 2;

export function healthRoutes(server: FastifyInstance, { status }: RouteContext): void {
  server.get("/health", (request, reply) => {
    const { ready, reasons } = status.health();
    if (!ready) reply.code(503).header("retry-after", retryAfterSeconds);
    reply.header("cache-control", "no-store");
    // Whoever has no key learns that something is wrong, not what: reasons name machines.
    return { status: ready ? "ok" : "unavailable", ready, reasons: request.caller.kind === "nobody" ? [] : reasons };
  });
  server.get("/health/live", () => ({ status: "live" }));
}
