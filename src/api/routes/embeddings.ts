/** `POST /v1/embeddings`. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";
import { embedAll, embeddingsJob } from "../embeddings.js";
import { respondWhole } from "../generation.js";
import { newId } from "../ids.js";
import { embeddingsRequestSchema } from "../schemas/embeddings.js";
import { validate } from "../validate.js";

const endpoint = "/v1/embeddings";

export function embeddingsRoute(server: FastifyInstance, context: RouteContext): void {
  server.post(endpoint, (request, reply) => {
    const job = embeddingsJob(context.models, validate(embeddingsRequestSchema, request.body), newId("embd-"));
    return respondWhole(context, { endpoint, request, reply }, (run) => embedAll(job, (asked) => run.embed(asked)));
  });
}
