/** `GET /openapi.json` */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";
import { openApiDocument } from "../openapi.js";

export function openApiRoute(server: FastifyInstance, { options }: RouteContext): void {
  // Made when it is first asked for: most nodes never are.
  let document: object | undefined;
  server.get("/openapi.json", () => document ??= openApiDocument(options.version));
}
