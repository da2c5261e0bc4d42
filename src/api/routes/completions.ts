/** `POST /v1/completions`, whole or as a stream. */
import type { FastifyInstance } from "fastify";
import { invariant } from "../../core/invariant.js";
import type { GeneratedToken } from "../../daemon/inference/generate.js";
import type { AnswerUsage } from "../answer.js";
import { type ChatHead, usageObject } from "../chat-objects.js";
import { type ChoicePiece, choiceRequest, choices } from "../choices.js";
import { type CompletionJob, completionJob } from "../completion-job.js";
import { completionLogprobs } from "../completion-logprobs.js";
import type { RouteContext } from "../deps.js";
import { respondStream, respondWhole, type Run } from "../generation.js";
import { openFrame } from "../reattach/frame.js";
import { completionRequestSchema } from "../schemas/completion.js";
import type { SseStream } from "../sse.js";
import { validate } from "../validate.js";

const endpoint = "/v1/completions";

export function completionsRoute(server: FastifyInstance, context: RouteContext): void {
  server.post(endpoint, async (request, reply) => {
    const body = validate(completionRequestSchema, request.body);
    const frame = await openFrame(context, endpoint, request, reply);
    const id = frame.identity.newId("cmpl-");
    const job = completionJob(context.models, body, id, frame.identity.seed);
    const begun = frame.begin(job.model.fingerprint);
    const head: ChatHead = { id, created: begun.created, model: job.model.id, system_fingerprint: begun.fingerprint };
    const call = { endpoint, request, reply, frame, chain: frame.chain(id, begun) };
    if (!body.stream) return respondWhole(context, call, (run) => whole(run, job, head));
    return respondStream(context, call, (run, stream) => sendChunks(run, job, head, stream, body.stream_options?.include_usage === true));
  });
}

/** All choices of all prompts; `index` is the prompt's. */
function pieces(run: Run, job: CompletionJob): AsyncIterable<{ readonly index: number; readonly item: ChoicePiece }> {
  return run.interleave(job.answers.map((answer) => choices(job.bestOf, (choice) => run.answer(choiceRequest(answer, choice)), run.interleave)));
}

async function whole(run: Run, job: CompletionJob, head: ChatHead): Promise<object> {
  const all = job.answers.map(() => Array.from({ length: job.bestOf }, () => ({ text: "", tokens: [] as GeneratedToken[], finished: undefined as Finished | undefined })));
  for await (const { index, item: { choice, piece } } of pieces(run, job)) {
    const answer = all[index]![choice]!;
    if (piece.kind === "finished") answer.finished = piece;
    else {
      answer.text += piece.text;
      answer.tokens.push(...piece.tokens);
    }
  }
  const { tokenizer } = job.model.assistant;
  const chosen = all.flatMap((answers, prompt) => best(answers, job.n).map(({ text, tokens, finished }, index) => {
    invariant(finished, "an answer ended without finishing");
    const prefix = job.echo?.[prompt] ?? "";
    return { text: prefix + text, index: prompt * job.n + index, logprobs: job.logprobs ? completionLogprobs(tokenizer, tokens, prefix.length) : null, finish_reason: finished.reason };
  }));
  return { ...head, object: "text_completion", choices: chosen, usage: usageObject(total(all.map((answers) => answers.map(({ finished }) => finished!.usage)))) };
}

interface Finished { readonly reason: "stop" | "length"; readonly usage: AnswerUsage }

/** The `n` that the model itself finds likeliest, by the mean of their tokens. */
function best<A extends { readonly tokens: readonly GeneratedToken[] }>(answers: readonly A[], n: number): readonly A[] {
  if (answers.length === n) return answers;
  const mean = ({ tokens }: A) => tokens.reduce((sum, token) => sum + (token.logprobs?.logprob ?? 0), 0) / Math.max(1, tokens.length);
  return answers.toSorted((a, b) => mean(b) - mean(a)).slice(0, n);
}

/** Each prompt was computed once, whatever the number of its answers. */
function total(usages: readonly (readonly AnswerUsage[])[]): AnswerUsage {
  const sum = (value: (usage: AnswerUsage) => number, of: readonly AnswerUsage[]) => of.reduce((all, usage) => all + value(usage), 0);
  const firsts = usages.map(([first]) => first!);
  return {
    promptTokens: sum((usage) => usage.promptTokens, firsts),
    completionTokens: sum((usage) => usage.completionTokens, usages.flat()),
    cachedPromptTokens: sum((usage) => usage.cachedPromptTokens, firsts),
  };
}

async function sendChunks(run: Run, job: CompletionJob, head: ChatHead, stream: SseStream, includeUsage: boolean): Promise<void> {
  const { tokenizer } = job.model.assistant;
  const usages: AnswerUsage[][] = job.answers.map(() => []);
  const lengths = new Map<number, number>();
  const send = (choices: readonly object[], usage: object | null) => stream.send({ ...head, object: "text_completion", choices, ...(includeUsage && { usage }) });
  for await (const { index: prompt, item: { choice, piece } } of pieces(run, job)) {
    const index = prompt * job.n + choice;
    if (!lengths.has(index)) {
      const echoed = job.echo?.[prompt] ?? "";
      lengths.set(index, echoed.length);
      if (echoed !== "") send([{ text: echoed, index, logprobs: null, finish_reason: null }], null);
    }
    if (piece.kind === "finished") {
      usages[prompt]![choice] = piece.usage;
      send([{ text: "", index, logprobs: null, finish_reason: piece.reason }], null);
    } else if (piece.text !== "" || (job.logprobs && piece.tokens.length > 0)) {
      const at = lengths.get(index)!;
      lengths.set(index, at + piece.text.length);
      send([{ text: piece.text, index, logprobs: job.logprobs ? completionLogprobs(tokenizer, piece.tokens, at) : null, finish_reason: null }], null);
    }
  }
  if (includeUsage) send([], usageObject(total(usages)));
  stream.end("[DONE]");
}
