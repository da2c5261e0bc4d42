/** A conversation to be answered, from whatever protocol it came, as the work it asks for. */
import type { AnswerRequest } from "./answer.js";
import { type AnswerParser, chatPrompt, type Conversation } from "./chat-prompt.js";
import { answerTokensMax } from "./models.js";
import type { Identity } from "./reattach/frame.js";
import { samplingParams } from "./sampling.js";
import type { SamplingFields } from "./schemas/sampling.js";
import type { ServedModel } from "./served-model.js";

export interface ChatWish {
  readonly conversation: Conversation;
  readonly sampling: SamplingFields;
  /** undefined: as many as there is room for. */
  readonly maxTokens: number | undefined;
  readonly stops: readonly string[];
  readonly choices: number;
  /** Alternatives to report; undefined: no logprobs at all. */
  readonly topLogprobs: number | undefined;
  /** Waits behind the interactive ones. */
  readonly batch?: boolean;
  /** What the protocol calls the conversation, for errors. */
  readonly param: string;
}

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
 * @param identity names what is in the answer, and has the seed of a request that names none
 * @throws MinidError for what a schema cannot see: prompt too long, tokens outside the vocabulary, a tool that is not there
 */
export function chatJob(model: ServedModel, wish: ChatWish, id: string, identity: Identity): ChatJob {
  const { tokenizer, stopTokens, defaults } = model.assistant;
  const { conversation, sampling, stops, topLogprobs } = wish;
  const prompt = chatPrompt(model, conversation, identity.newId);
  return {
    model,
    choices: wish.choices,
    newParser: prompt.newParser,
    logprobs: topLogprobs !== undefined,
    oneCall: conversation.parallelCalls === false,
    json: conversation.shape?.json === true && stops.length === 0,
    answer: {
      newDecoder: prompt.newDecoder,
      stops,
      generate: {
        requestId: id,
        modelId: model.id,
        prompt: prompt.tokens,
        emitted: [],
        sampling: {
          ...samplingParams(sampling, { vocabSize: tokenizer.vocabSize, defaults }, identity.seed),
          ...(topLogprobs !== undefined && { topLogprobs }),
          ...(prompt.grammar !== undefined && { grammar: prompt.grammar }),
        },
        maxTokens: answerTokensMax(model, prompt.tokens.length, wish.maxTokens, wish.param),
        stopTokens: sampling.ignore_eos ? [] : stopTokens,
        ...(wish.batch && { priority: "batch" }),
      },
    },
  };
}
