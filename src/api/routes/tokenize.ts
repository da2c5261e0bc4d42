/** `POST /tokenize`, of a text or a conversation, and `/detokenize`. */
import type { FastifyInstance } from "fastify";
import { MinidError } from "../../core/errors.js";
import { templateMessages } from "../conversation.js";
import type { RouteContext } from "../deps.js";
import { requireModel, requireTemplate } from "../models.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "../schemas/tokenize.js";
import { validate } from "../validate.js";

export function tokenizeRoutes(server: FastifyInstance, { models }: RouteContext): void {
  server.post("/tokenize", (request) => {
    const body = validate(tokenizeRequestSchema, request.body);
    const model = requireModel(models, body.model);
    const { tokenizer } = model.assistant;
    if ((body.prompt ?? undefined) !== undefined && body.messages) throw new MinidError("invalid_value", "Invalid value for 'messages': 'prompt' is given as well. Leave one of them out.", { param: "messages" });
    if ((body.prompt ?? undefined) === undefined && !body.messages) throw new MinidError("missing_required_parameter", "Missing required parameter: 'prompt' or 'messages'.", { param: "prompt" });
    const tokens = body.messages
      ? tokenizer.encode(requireTemplate(model).render({ messages: templateMessages(body.messages), addGenerationPrompt: body.add_generation_prompt ?? true }), body.add_special_tokens ?? false)
      : tokenizer.encode(body.prompt ?? "", body.add_special_tokens ?? true);
    return { count: tokens.length, max_model_len: model.contextMax, tokens, ...(body.return_token_strs && { token_strs: tokens.map((token) => tokenizer.tokenText(token)) }) };
  });

  server.post("/detokenize", (request) => {
    const body = validate(detokenizeRequestSchema, request.body);
    const { tokenizer } = requireModel(models, body.model).assistant;
    const unknown = body.tokens.findIndex((token) => token >= tokenizer.vocabSize);
    if (unknown >= 0) throw new MinidError("invalid_value", `Invalid value for 'tokens[${unknown}]': it is not a token of this model, whose vocabulary has ${tokenizer.vocabSize}.`, { param: `tokens[${unknown}]` });
    return { prompt: tokenizer.decode(body.tokens, { keepSpecial: true }) };
  });
}
