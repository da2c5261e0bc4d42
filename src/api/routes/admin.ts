/** Orders to this machine's agent, for the admin scope and the home's own socket. `POST /admin/drain {"draining": true}`. */
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { RouteContext } from "../deps.js";
import { validate } from "../validate.js";

export const drainSchema = z.strictObject({ draining: z.boolean() });

export interface AdminActions {
  /** Starts or stops leaving the ring; the agent stays up. */
  readonly drain: (draining: boolean) => void;
}

export function adminRoutes(server: FastifyInstance, { admin }: RouteContext): void {
  server.post("/admin/drain", (request) => {
    const { draining } = validate(drainSchema, request.body);
    admin.drain(draining);
    return { draining };
  });
}
