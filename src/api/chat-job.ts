/** A chat request, checked, as the work it asks for. */
import type { AnswerRequest } from "./answer.js";
import { templateMessages } from "./conversation.js";
import { newSeed } from "./ids.js";
import { answerTokensMax, requireModel, requireTemplate } from "./models.js";
import { samplingParams, stopStrings } from "./sampling.js";
import type { ChatRequest } from "./schemas/chat.js";
import type { ModelDirectory, ServedModel } from "./served-model.js";

export interface ChatJob {
  readonly model: ServedModel;
  readonly answer: AnswerRequest;
}

/**
 * @param id unique for this request: the generator refuses doubles
 * @throws MinidError for what the schema cannot see: unknown model, prompt too long, tokens outside the vocabulary
 */
export function chatJob(models: ModelDirectory, request: ChatRequest, id: string): ChatJob {
  const model = requireModel(models, request.model);
  const { tokenizer, stopTokens, defaults } = model.assistant;
  const text = requireTemplate(model).render({ messages: templateMessages(request.messages), addGenerationPrompt: true });
  const prompt = tokenizer.encode(text, false);
  const maxTokens = answerTokensMax(model, prompt.length, request.max_completion_tokens ?? request.max_tokens ?? undefined, "messages");
  return {
    model,
    answer: {
      decoder: tokenizer.streamDecoder(),
      stops: stopStrings(request.stop),
      generate: {
        requestId: id,
        modelId: model.id,
        prompt,
        emitted: [],
        sampling: samplingParams(request, { vocabSize: tokenizer.vocabSize, defaults }, newSeed()),
        maxTokens,
        stopTokens: request.ignore_eos ? [] : stopTokens,
      },
    },
  };
}
