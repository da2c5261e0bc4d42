/** A client of the chat API that keeps what an answer was made of, token by token, so that two answers can be compared exactly. */

export interface Question {
  readonly prompt: string;
  readonly maxTokens: number;
  /** 0 is greedy. */
  readonly temperature?: number;
  readonly seed?: number;
  /** Anything else of the request body. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export interface Answer {
  readonly text: string;
  /** With the exact log-probability of each; only when the question asked for `logprobs`. */
  readonly tokens: readonly { readonly token: string; readonly logprob: number }[];
  readonly finishReason: string;
  readonly completionTokens: number;
  readonly promptTokens: number;
  /** Longest wait between two pieces of text. */
  readonly longestGapMs: number;
  readonly totalMs: number;
}

export class AnswerFailed extends Error {
  override readonly name = "AnswerFailed";
  readonly status: number;
  readonly code: string;
  readonly piecesSoFar: number;
  readonly retryAfterSeconds: number | undefined;
  constructor(message: string, status: number, code: string, piecesSoFar: number, retryAfterSeconds?: number) {
    super(message);
    this.status = status;
    this.code = code;
    this.piecesSoFar = piecesSoFar;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

interface Chunk {
  readonly error?: { readonly message: string; readonly code: string };
  readonly choices?: readonly { readonly delta: { readonly content?: string }; readonly finish_reason: string | null; readonly logprobs?: { readonly content: readonly { readonly token: string; readonly logprob: number }[] } | null }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
}

/** The model's end of turn: forbidden, so that an answer has the length that was asked for. */
const endOfTurn = 2;

export function questionBody(question: Question, model: string, stream = true): Record<string, unknown> {
  const { prompt, maxTokens, temperature = 0, seed = 1, extra = {} } = question;
  return {
    model, messages: [{ role: "user", content: prompt }], max_tokens: maxTokens, temperature, seed,
    logit_bias: { [endOfTurn]: -100 }, ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}), ...extra,
  };
}

/**
 * Asks with streaming. @param options.onText called with the number of pieces of text so far (a piece is one token, or a few) and the new one.
 * @throws AnswerFailed when the server refuses or ends the stream with an error, or the connection breaks.
 */
export async function ask(url: string, model: string, question: Question, options: { readonly onText?: (count: number, piece: string) => void; readonly signal?: AbortSignal } = {}): Promise<Answer> {
  const startedAt = performance.now();
  const tokens: { token: string; logprob: number }[] = [];
  let text = "";
  let pieces = 0;
  let finishReason = "";
  let usage = { prompt_tokens: 0, completion_tokens: 0 };
  let longestGapMs = 0;
  let lastAt: number | undefined;
  const take = (chunk: Chunk): void => {
    if (chunk.error) throw new AnswerFailed(chunk.error.message, 200, chunk.error.code, pieces);
    if (chunk.usage) usage = chunk.usage;
    const [choice] = chunk.choices ?? [];
    if (!choice) return;
    const { content = "" } = choice.delta;
    text += content;
    finishReason = choice.finish_reason ?? finishReason;
    tokens.push(...(choice.logprobs?.content ?? []).map(({ token, logprob }) => ({ token, logprob })));
    if (content === "") return;
    const now = performance.now();
    if (lastAt !== undefined) longestGapMs = Math.max(longestGapMs, now - lastAt);
    lastAt = now;
    pieces += 1;
    options.onText?.(pieces, content);
  };
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(questionBody(question, model)), ...(options.signal ? { signal: options.signal } : {}),
    });
    if (!response.ok || !response.body) {
      const { error } = await response.json() as Chunk;
      const retryAfter = response.headers.get("retry-after");
      throw new AnswerFailed(error?.message ?? "no body", response.status, error?.code ?? "", 0, retryAfter === null ? undefined : Number(retryAfter));
    }
    let done = false;
    for await (const data of events(response.body)) {
      if (data === "[DONE]") { done = true; continue; }
      take(JSON.parse(data) as Chunk);
    }
    if (!done) throw new AnswerFailed("the stream ended without [DONE]", response.status, "cut_off", pieces);
  } catch (error) {
    if (error instanceof AnswerFailed) throw error;
    throw new AnswerFailed(`the connection broke: ${String(error instanceof Error ? error.cause ?? error : error)}`, 0, "connection", pieces);
  }
  return { text, tokens, finishReason, completionTokens: usage.completion_tokens, promptTokens: usage.prompt_tokens, longestGapMs, totalMs: performance.now() - startedAt };
}

/** The payloads of `data:` lines; comments (the keep-alive) are skipped. */
async function* events(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length).trimEnd();
  }
}

/** What differs between an answer and the undisturbed one; empty when nothing does. */
export function differences(got: Answer, undisturbed: Answer): string[] {
  const found: string[] = [];
  if (got.text !== undisturbed.text) {
    let at = 0;
    while (at < got.text.length && got.text[at] === undisturbed.text[at]) at += 1;
    const from = Math.max(0, at - 20);
    found.push(`text from character ${from} is ${JSON.stringify(got.text.slice(from, from + 60))}, undisturbed ${JSON.stringify(undisturbed.text.slice(from, from + 60))}`);
  }
  const token = got.tokens.findIndex((candidate, index) => candidate.token !== undisturbed.tokens[index]?.token || candidate.logprob !== undisturbed.tokens[index]?.logprob);
  if (token >= 0) found.push(`token ${token} is ${JSON.stringify(got.tokens[token])}, undisturbed ${JSON.stringify(undisturbed.tokens[token])}`);
  if (got.finishReason !== undisturbed.finishReason) found.push(`finish reason ${got.finishReason}, undisturbed ${undisturbed.finishReason}`);
  if (got.completionTokens !== undisturbed.completionTokens || got.promptTokens !== undisturbed.promptTokens) found.push(`usage ${got.promptTokens}+${got.completionTokens}, undisturbed ${undisturbed.promptTokens}+${undisturbed.completionTokens}`);
  return found;
}
