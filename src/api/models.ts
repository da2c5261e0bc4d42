/** Which model a request means, and the refusals that come with it. */
import { MinidError } from "../core/errors.js";
import type { ChatTemplate } from "../model/chat-template.js";
import type { ModelDirectory, ServedModel } from "./served-model.js";

/** @throws MinidError model_not_found */
export function requireModel(models: ModelDirectory, id: string): ServedModel {
  const model = models.find(id);
  if (model) return model;
  const names = models.list().map((each) => `'${each.id}'`).join(", ");
  throw new MinidError("model_not_found", `The model '${id}' does not exist here. ${names === "" ? "No model is configured." : `This server has ${names}.`}`, { param: "model" });
}

/**
 * @param asked the client's bound on the answer; more than what the context leaves is cut to that, without complaint, because clients send their own defaults
 * @returns most tokens of the answer, at least 1
 * @throws MinidError context_length_exceeded
 */
export function answerTokensMax(model: ServedModel, promptTokens: number, asked: number | undefined, param: string): number {
  const room = model.contextMax - promptTokens;
  if (room < 1) {
    throw new MinidError("context_length_exceeded",
      `This model's maximum context length is ${model.contextMax} tokens, answer included. However, your ${param} resulted in ${promptTokens} tokens. Please reduce the length of the ${param}.`, { param });
  }
  return Math.min(room, asked ?? room);
}

/** @throws MinidError invalid_value for a prompt without tokens, or with one that the model does not have */
export function checkPromptTokens(tokens: readonly number[], vocabSize: number, param: string): void {
  if (tokens.length === 0) throw new MinidError("invalid_value", `Invalid value for '${param}': it has no token.`, { param });
  const unknown = tokens.find((token) => token >= vocabSize);
  if (unknown !== undefined) throw new MinidError("invalid_value", `Invalid value for '${param}': ${unknown} is not a token of this model, whose vocabulary has ${vocabSize}.`, { param });
}

/** @throws MinidError unsupported_parameter for a model that only completes text */
export function requireTemplate(model: ServedModel): ChatTemplate {
  const { template } = model.assistant;
  if (template) return template;
  throw new MinidError("unsupported_parameter", `The model '${model.id}' has no chat template, so it cannot hold a conversation. Use POST /v1/completions.`, { param: "messages" });
}
