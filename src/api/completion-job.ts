/** A completion request, checked, as the work it asks for. */
import { MinidError } from "../core/errors.js";
import type { AnswerRequest } from "./answer.js";
import { limits } from "./options.js";
import { answerTokensMax, checkPromptTokens, requireModel } from "./models.js";
import { samplingParams, stopStrings } from "./sampling.js";
import type { CompletionRequest } from "./schemas/completion.js";
import type { ModelDirectory, ServedModel } from "./served-model.js";
import { shapeGrammar } from "./structured/grammar.js";
import { wantedShape } from "./structured/wanted.js";

/** OpenAI's default. */
const maxTokensDefault = 16;

export interface CompletionJob {
  readonly model: ServedModel;
  /** One for each prompt. */
  readonly answers: readonly AnswerRequest[];
  /** Answers to report for each prompt, and answers to generate: the best of more. */
  readonly n: number;
  readonly bestOf: number;
  /** The prompts' texts, where they are to be repeated. */
  readonly echo: readonly string[] | undefined;
  readonly logprobs: boolean;
}

/** @param randomSeed of a request that names none. @throws MinidError */
export function completionJob(models: ModelDirectory, request: CompletionRequest, id: string, randomSeed: number): CompletionJob {
  const model = requireModel(models, request.model);
  const { tokenizer, stopTokens, defaults } = model.assistant;
  const n = request.n ?? 1;
  const bestOf = request.best_of ?? n;
  const logprobs = typeof request.logprobs === "number";
  if (bestOf < n) throw new MinidError("invalid_value", `Invalid value for 'best_of': it is ${bestOf}, and less than 'n', ${n}.`, { param: "best_of" });
  if (bestOf > n && request.stream) throw new MinidError("invalid_value", "Invalid value for 'best_of': the best cannot be known while it streams. Leave out 'stream' or 'best_of'.", { param: "best_of" });
  if (request.echo && logprobs) throw new MinidError("unsupported_parameter", "Unsupported together: 'echo' and 'logprobs'. The prompt's own probabilities are not computed.", { param: "logprobs" });
  if (promptsOf(request.prompt).length * bestOf > limits.answersAtOnce) throw new MinidError("invalid_value", `Invalid value for 'prompt': prompts times answers are more than ${limits.answersAtOnce}. Send several requests.`, { param: "prompt" });
  const prompts = promptsOf(request.prompt).map((prompt) => typeof prompt === "string" ? tokenizer.encode(prompt, true) : prompt);
  const shape = wantedShape(request.response_format, request.structured_outputs);
  const grammar = shape && shapeGrammar(shape, stopTokens);
  const sampling = samplingParams(request, { vocabSize: tokenizer.vocabSize, defaults }, randomSeed);
  const answers = prompts.map((prompt, index): AnswerRequest => {
    checkPromptTokens(prompt, tokenizer.vocabSize, "prompt");
    return {
      newDecoder: () => tokenizer.streamDecoder({ continues: true }),
      stops: stopStrings(request.stop),
      generate: {
        requestId: index === 0 ? id : `${id}-p${index}`,
        modelId: model.id,
        prompt,
        emitted: [],
        sampling: { ...sampling, ...((logprobs || bestOf > n) && { topLogprobs: request.logprobs ?? 0 }), ...(grammar !== undefined && { grammar }) },
        maxTokens: answerTokensMax(model, prompt.length, request.max_tokens ?? maxTokensDefault, "prompt"),
        stopTokens: request.ignore_eos ? [] : stopTokens,
      },
    };
  });
  return { model, answers, n, bestOf, logprobs, echo: request.echo ? prompts.map((prompt) => tokenizer.decode(prompt)) : undefined };
}

function promptsOf(prompt: CompletionRequest["prompt"]): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : prompt as (string | number[])[];
}
