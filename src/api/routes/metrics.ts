/** `GET /metrics`: Prometheus' text format, gathered by the agent. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";

export function metricsRoute(server: FastifyInstance, { status }: RouteContext): void {
  server.get("/metrics", async (_request, reply) => {
    const { contentType, body } = await status.metrics();
    return reply.header("content-type", contentType).send(body);
  });
}
