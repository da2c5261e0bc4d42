/** A chat completion request, checked, as the work it asks for. */
import { MinidError } from "../core/errors.js";
import type { AnswerRequest } from "./answer.js";
import { type AnswerParser, chatPrompt } from "./chat-prompt.js";
import { templateMessages } from "./conversation.js";
import { newSeed } from "./ids.js";
import { answerTokensMax, requireModel } from "./models.js";
import { samplingParams, stopStrings } from "./sampling.js";
import type { ChatRequest } from "./schemas/chat.js";
import type { ModelDirectory, ServedModel } from "./served-model.js";
import { wantedShape } from "./structured/wanted.js";

export interface ChatJob {
  readonly model: ServedModel;
  readonly answer: AnswerRequest;
  readonly choices: number;
  readonly newParser: () => AnswerParser;
  readonly logprobs: boolean;
  /** An answer ends with its first tool call. */
  readonly oneCall: boolean;
  /** The answer's text is to be a JSON document, unless the model calls tools instead or is cut short. */
  readonly json: boolean;
}

/**
 * @param id unique for this request: the generator refuses doubles
 * @throws MinidError for what the schema cannot see: unknown model, prompt too long, tokens outside the vocabulary
 */
export function chatJob(models: ModelDirectory, request: ChatRequest, id: string): ChatJob {
  const model = requireModel(models, request.model);
  const { tokenizer, stopTokens, defaults } = model.assistant;
  const logprobs = request.logprobs ?? false;
  if (!logprobs && typeof request.top_logprobs === "number") {
    throw new MinidError("invalid_value", "Invalid value for 'top_logprobs': it needs 'logprobs' to be true.", { param: "top_logprobs" });
  }
  const stops = stopStrings(request.stop);
  const shape = wantedShape(request.response_format, request.structured_outputs);
  const prompt = chatPrompt(model, {
    messages: templateMessages(request.messages),
    tools: request.tools ?? [],
    toolChoice: request.tool_choice ?? "auto",
    variables: templateVariables(request),
    shape,
    parallelCalls: request.parallel_tool_calls !== false,
  });
  const maxTokens = answerTokensMax(model, prompt.tokens.length, request.max_completion_tokens ?? request.max_tokens ?? undefined, "messages");
  return {
    model,
    choices: request.n ?? 1,
    newParser: prompt.newParser,
    logprobs,
    oneCall: request.parallel_tool_calls === false,
    json: shape?.json === true && stops.length === 0,
    answer: {
      newDecoder: prompt.newDecoder,
      stops,
      generate: {
        requestId: id,
        modelId: model.id,
        prompt: prompt.tokens,
        emitted: [],
        sampling: { ...samplingParams(request, { vocabSize: tokenizer.vocabSize, defaults }, newSeed()), ...(logprobs && { topLogprobs: request.top_logprobs ?? 0 }), ...(prompt.grammar !== undefined && { grammar: prompt.grammar }) },
        maxTokens,
        stopTokens: request.ignore_eos ? [] : stopTokens,
      },
    },
  };
}

/** OpenAI's word for no thinking, as Qwen's templates know it; what the request says itself wins. */
function templateVariables({ reasoning_effort: effort, chat_template_kwargs: own }: ChatRequest): Record<string, unknown> {
  return { ...(effort === "none" && { enable_thinking: false }), ...own };
}
