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
  /** As the API reports them, with the exact log-probability of each. */
  readonly tokens: readonly { readonly token: string; readonly logprob: number }[];
  readonly finishReason: string;
  readonly completionTokens: number;
  readonly promptTokens: number;
  /** Longest wait between two tokens. */
  readonly longestGapMs: number;
  readonly totalMs: number;
}

export class AnswerFailed extends Error {
  override readonly name = "AnswerFailed";
  readonly status: number;
  readonly code: string;
  readonly tokensSoFar: number;
  constructor(message: string, status: number, code: string, tokensSoFar: number) {
    super(message);
    this.status = status;
    this.code = code;
    this.tokensSoFar = tokensSoFar;
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
    logit_bias: { [endOfTurn]: -100 }, logprobs: true, ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}), ...extra,
  };
}

/**
 * Asks with streaming. @param onToken called with the number of tokens so far.
 * @throws AnswerFailed when the server refuses or ends the stream with an error, or the connection breaks.
 */
export async function ask(url: string, model: string, question: Question, options: { readonly onToken?: (count: number) => void; readonly signal?: AbortSignal } = {}): Promise<Answer> {
  const startedAt = performance.now();
  const tokens: { token: string; logprob: number }[] = [];
  let text = "";
  let finishReason = "";
  let usage = { prompt_tokens: 0, completion_tokens: 0 };
  let longestGapMs = 0;
  let lastAt: number | undefined;
  const take = (chunk: Chunk): void => {
    if (chunk.error) throw new AnswerFailed(chunk.error.message, 200, chunk.error.code, tokens.length);
    if (chunk.usage) usage = chunk.usage;
    const [choice] = chunk.choices ?? [];
    if (!choice) return;
    text += choice.delta.content ?? "";
    finishReason = choice.finish_reason ?? finishReason;
    const fresh = choice.logprobs?.content ?? [];
    if (fresh.length === 0) return;
    const now = performance.now();
    if (lastAt !== undefined) longestGapMs = Math.max(longestGapMs, now - lastAt);
    lastAt = now;
    tokens.push(...fresh.map(({ token, logprob }) => ({ token, logprob })));
    options.onToken?.(tokens.length);
  };
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(questionBody(question, model)), ...(options.signal ? { signal: options.signal } : {}),
    });
    if (!response.ok || !response.body) {
      const { error } = await response.json() as Chunk;
      throw new AnswerFailed(error?.message ?? "no body", response.status, error?.code ?? "", 0);
    }
    let done = false;
    for await (const data of events(response.body)) {
      if (data === "[DONE]") { done = true; continue; }
      take(JSON.parse(data) as Chunk);
    }
    if (!done) throw new AnswerFailed("the stream ended without [DONE]", response.status, "cut_off", tokens.length);
  } catch (error) {
    if (error instanceof AnswerFailed) throw error;
    throw new AnswerFailed(`the connection broke: ${String(error instanceof Error ? error.cause ?? error : error)}`, 0, "connection", tokens.length);
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
  const at = got.tokens.findIndex(({ token }, index) => token !== undisturbed.tokens[index]?.token);
  if (at >= 0) found.push(`token ${at} is ${JSON.stringify(got.tokens[at]?.token)}, undisturbed ${JSON.stringify(undisturbed.tokens[at]?.token)}`);
  if (got.tokens.length !== undisturbed.tokens.length) found.push(`${got.tokens.length} tokens, undisturbed ${undisturbed.tokens.length}`);
  const bits = got.tokens.findIndex(({ logprob }, index) => logprob !== undisturbed.tokens[index]?.logprob);
  if (at < 0 && bits >= 0) found.push(`logprob of token ${bits} is ${got.tokens[bits]?.logprob}, undisturbed ${undisturbed.tokens[bits]?.logprob}`);
  if (got.text !== undisturbed.text) found.push("the text differs");
  if (got.finishReason !== undisturbed.finishReason) found.push(`finish reason ${got.finishReason}, undisturbed ${undisturbed.finishReason}`);
  if (got.completionTokens !== undisturbed.completionTokens || got.promptTokens !== undisturbed.promptTokens) found.push(`usage ${got.promptTokens}+${got.completionTokens}, undisturbed ${undisturbed.promptTokens}+${undisturbed.completionTokens}`);
  return found;
}
