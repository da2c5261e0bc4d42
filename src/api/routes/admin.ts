/** Orders to this machine's agent, for the admin scope and the home's own socket. `POST /admin/drain {"draining": true}`, `POST /admin/examine {"deep": false}`. */
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Examination } from "../../daemon/doctor/examine.js";
import type { RouteContext } from "../deps.js";
import { validate } from "../validate.js";

export const drainSchema = z.strictObject({ draining: z.boolean() });

export const examineSchema = z.strictObject({ deep: z.boolean().default(false) });

export interface AdminActions {
  /** Starts or stops leaving the ring; the agent stays up. */
  readonly drain: (draining: boolean) => void;
  /** What `minid doctor` shows of the whole cluster. @param deep read the whole model too. */
  readonly examine: (deep: boolean) => Promise<Examination>;
}

export function adminRoutes(server: FastifyInstance, { admin }: RouteContext): void {
  server.post("/admin/drain", (request) => {
    const { draining } = validate(drainSchema, request.body);
    admin.drain(draining);
    return { draining };
  });
  server.post("/admin/examine", (request) => admin.examine(validate(examineSchema, request.body).deep));
}
