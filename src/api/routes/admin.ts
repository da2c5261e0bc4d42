/**
 * Orders to this machine's agent, for the admin scope and the home's own socket. `POST /admin/drain {"draining": true}`;
 * `POST /admin/examine {"deep": false}`; `GET /admin/logs` gives the cluster's log lines as they come, one JSON object a line.
 */
import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Examination } from "../../daemon/doctor/examine.js";
import type { ClusterLogQuestion } from "../../daemon/logs/cluster-logs.js";
import { type LogLine, levels } from "../../daemon/logs/log-line.js";
import type { RouteContext } from "../deps.js";
import { validate } from "../validate.js";

export const drainSchema = z.strictObject({ draining: z.boolean() });

export const examineSchema = z.strictObject({ deep: z.boolean().default(false) });
const logsMax = 10_000;
export const logsSchema = z.strictObject({
  lines: z.coerce.number().int().min(0).max(logsMax).default(100),
  follow: z.enum(["true", "false"]).default("false").transform((text) => text === "true"),
  level: z.enum(levels).default("info"),
  node: z.string().min(1).max(128).optional(),
  request: z.string().min(1).max(256).optional(),
});

export interface AdminActions {
  /** Starts or stops leaving the ring; the agent stays up. */
  readonly drain: (draining: boolean) => void;
  /** What `minid doctor` shows of the whole cluster. @param deep read the whole model too. */
  readonly examine: (deep: boolean) => Promise<Examination>;
  /** The cluster's log lines, until the signal aborts. */
  readonly logs: (question: ClusterLogQuestion, signal: AbortSignal) => AsyncIterable<LogLine>;
}

export function adminRoutes(server: FastifyInstance, { admin }: RouteContext): void {
  server.post("/admin/drain", (request) => {
    const { draining } = validate(drainSchema, request.body);
    admin.drain(draining);
    return { draining };
  });
  server.post("/admin/examine", (request) => admin.examine(validate(examineSchema, request.body).deep));
  server.get("/admin/logs", (request, reply) => {
    const { node, request: requestId, ...question } = validate(logsSchema, request.query);
    const gone = new AbortController();
    reply.raw.on("close", () => { gone.abort(); });
    const lines = admin.logs({ ...question, ...(node !== undefined && { node }), ...(requestId !== undefined && { request: requestId }) }, gone.signal);
    return reply.type("application/x-ndjson").send(Readable.from(asText(lines)));
  });
}

async function* asText(lines: AsyncIterable<LogLine>): AsyncGenerator<string> {
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
}
