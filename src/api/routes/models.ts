/** `GET /v1/models` and `/v1/models/{id}`; ids contain slashes, encoded or not. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.js";
import { requireModel } from "../models.js";
import type { ServedModel } from "../served-model.js";

export function modelsRoutes(server: FastifyInstance, { models }: RouteContext): void {
  server.get("/v1/models", () => ({ object: "list", data: models.list().map(modelObject) }));
  server.get<{ Params: { "*": string } }>("/v1/models/*", (request) => modelObject(requireModel(models, request.params["*"])));
}

/** OpenAI's four fields, and the context length under the name that vLLM gave it. */
const modelObject = (model: ServedModel) =>
  ({ id: model.id, object: "model", created: model.created, owned_by: "minid", max_model_len: model.contextMax });
