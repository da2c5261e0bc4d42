/**
 * The front door: an OpenAI-compatible HTTP API over a `Generator`, a directory of models and a status.
 * It holds no state of its own beyond the requests in flight. Listening and closing are the caller's.
 */
import cors, { type FastifyCorsOptions } from "@fastify/cors";
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { systemClock } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import { ownAnswers } from "../daemon/answers/shared-answers.js";
import type { KeyDirectory } from "../daemon/security/api-keys.js";
import { guardAccess } from "./access/guard.js";
import type { ApiDeps, RouteContext } from "./deps.js";
import { errorBody, errorHeaders, publicError } from "./error-response.js";
import { createFrontServer } from "./http-server.js";
import { requestId } from "./ids.js";
import { noObserver } from "./observer.js";
import { watchConnections } from "./open-connections.js";
import { apiDefaults, type ApiOptions } from "./options.js";
import { refuseConnection, unknownAddress, watchMethods } from "./refusals.js";
import { type AdminActions, adminRoutes } from "./routes/admin.js";
import { chatCompletionsRoute } from "./routes/chat-completions.js";
import { completionsRoute } from "./routes/completions.js";
import { embeddingsRoute } from "./routes/embeddings.js";
import { dashboardRoutes } from "./routes/dashboard.js";
import { distributedRoutes } from "./routes/distributed.js";
import { healthRoutes } from "./routes/health.js";
import { messagesRoutes } from "./routes/messages.js";
import { metricsRoute } from "./routes/metrics.js";
import { modelsRoutes } from "./routes/models.js";
import { openApiRoute } from "./routes/openapi.js";
import { responsesRoutes } from "./routes/responses.js";
import { tokenizeRoutes } from "./routes/tokenize.js";
import { securityHeaders } from "./security-headers.js";

const routes = [chatCompletionsRoute, completionsRoute, messagesRoutes, responsesRoutes, embeddingsRoute, tokenizeRoutes, modelsRoutes, healthRoutes, distributedRoutes, metricsRoute, openApiRoute, adminRoutes, dashboardRoutes];

const noKeys: KeyDirectory = { find: () => undefined };
const noAgent = (): never => { throw new MinidError("not_found", "This server has no agent to give orders to."); };
const noActions: AdminActions = { drain: noAgent, examine: noAgent, logs: noAgent };

export function createServer(deps: ApiDeps, options: Partial<ApiOptions> = {}): FastifyInstance {
  const context: RouteContext = { clock: systemClock, observer: noObserver, answers: ownAnswers(deps.clock ?? systemClock), keys: noKeys, admin: noActions, homeConnections: new WeakSet(), hostNames: () => [], ...deps, options: { ...apiDefaults, ...options } };
  const { bodyBytesMax, corsOrigins, pipelinedMax } = context.options;
  const sendError = (thrown: unknown, id: string, reply: FastifyReply) => {
    const error = publicError(thrown, id, context.log);
    return reply.code(error.httpStatus).headers(errorHeaders(error)).send(errorBody(error));
  };
  const server = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    serverFactory: (handler) => createFrontServer(handler, context.options, deps.tls),
    genReqId: (request) => requestId(request.headers["x-request-id"]),
    // Requests on connections that outlive `close()` get our own 503, see below.
    return503OnClosing: false,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (thrown, request, reply: FastifyReply) => {
      reply.header("x-request-id", request.id);
      void sendError(thrown, request.id, reply);
    },
  });
  // JSON only: a page of another origin can send text/plain to a loopback address without asking.
  server.removeContentTypeParser("text/plain");

  const connections = watchConnections(server);
  server.addHook("onRequest", async (request, reply) => {
    reply.headers({ "x-request-id": request.id, ...securityHeaders });
    if (connections.closing) throw new MinidError("draining", "This node is leaving and takes no new requests.");
    if (connections.inFlight(request.socket) >= pipelinedMax) {
      // No answer would get through: it would queue behind the others, and Node stops reading from who has much queued.
      request.socket.destroy();
      throw new MinidError("cancelled", `More than ${pipelinedMax} requests were in flight on one connection.`);
    }
  });
  if (corsOrigins.length > 0) server.register(cors, corsOptions(corsOrigins));
  // After what answers preflights, which never carry a key.
  server.after(() => {
    guardAccess(server, {
      keys: context.keys, loopbackNeedsKey: context.options.loopbackNeedsKey, webPages: () => ({ hostNames: context.hostNames(), origins: corsOrigins }),
    }, context.homeConnections);
  });
  server.setErrorHandler((thrown, request, reply) => sendError(thrown, request.id, reply));
  server.setNotFoundHandler(async (request) => { throw unknownAddress(request.method, request.url); });

  const refuseOtherMethods = watchMethods(server);
  for (const route of routes) route(server, context);
  refuseOtherMethods();
  return server;
}

/** What a page's script may send and read; cookies and the like are nothing that this API knows. */
const corsOptions = (origins: readonly string[]): FastifyCorsOptions => ({
  origin: origins.includes("*") ? "*" : [...origins],
  methods: ["GET", "HEAD", "POST", "DELETE"],
  exposedHeaders: ["x-request-id", "request-id", "retry-after", "x-should-retry", ...rateLimitHeaders],
  maxAge: 600,
});

const rateLimitHeaders = ["requests", "tokens"].flatMap((what) => ["limit", "remaining", "reset"].map((kind) => `x-ratelimit-${kind}-${what}`));
