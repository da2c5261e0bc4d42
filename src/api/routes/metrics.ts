/** `GET /metrics`: Prometheus' text format or OpenMetrics, gathered by the agent. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";

export function metricsRoute(server: FastifyInstance, { status }: RouteContext): void {
  server.get("/metrics", async (request, reply) => {
    const { contentType, body } = await status.metrics(request.headers.accept);
    return reply.header("content-type", contentType).send(body);
  });
}
