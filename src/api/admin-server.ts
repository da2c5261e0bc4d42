/**
 * Orders for this machine's own agent, on a socket that only its user can open: there is no way to it from a network or a web page.
 * `POST /drain {"draining": true}`.
 */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";
import { MinidError, toMinidError } from "../core/errors.js";
import { shortDirectory } from "../core/short-directory.js";
import { errorBody } from "./error-response.js";

const socketName = "admin.sock";
const drainSchema = z.strictObject({ draining: z.boolean() });

export interface AdminActions {
  /** Starts or stops leaving the ring; the agent stays up. */
  readonly drain: (draining: boolean) => void;
}

export function adminSocket(home: string): string {
  return join(shortDirectory(home, join(home, "run"), socketName), socketName);
}

/** @returns the server, listening. A socket that a dead agent left is replaced. */
export async function startAdminServer(home: string, actions: AdminActions): Promise<FastifyInstance> {
  const socket = adminSocket(home);
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  rmSync(socket, { force: true });
  const server = fastify({ logger: false, bodyLimit: 4_096 });
  server.setErrorHandler((thrown, _request, reply) => {
    const error = toMinidError(thrown);
    return reply.code(error.httpStatus).send(errorBody(error));
  });
  server.post("/drain", async (request) => {
    const parsed = drainSchema.safeParse(request.body);
    if (!parsed.success) throw new MinidError("invalid_value", "draining: true or false is needed", { param: "draining" });
    actions.drain(parsed.data.draining);
    return { draining: parsed.data.draining };
  });
  await server.listen({ path: socket });
  chmodSync(socket, 0o600);
  return server;
}
