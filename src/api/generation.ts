/**
 * The frame around every endpoint that generates: deadline, a client that goes away, errors before and after the first byte,
 * metrics. The endpoint itself says what to generate and how it looks; it is handed a `Run` and, for a stream, the stream.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { type ErrorCode, toMinidError } from "../core/errors.js";
import { answer, type AnswerPiece, type AnswerRequest } from "./answer.js";
import type { GenerateRequest } from "../daemon/inference/generate.js";
import { requestDeadlineMs } from "./deadline.js";
import type { RouteContext } from "./deps.js";
import { embeddingOf } from "./embeddings.js";
import { publicError } from "./error-response.js";
import type { Allowance } from "./limits/key-limits.js";
import { isBatch, withPriority } from "./priority.js";
import { type Interleave, inTurn, merged } from "./choices.js";
import { logAnswer, logQuestion } from "./content-log.js";
import { type Tally, timed } from "./observer.js";
import type { EventChain } from "./reattach/event-chain.js";
import type { AnswerFrame } from "./reattach/frame.js";
import { openScope } from "./request-scope.js";
import { SseStream, type ErrorEvent } from "./sse.js";

export interface Run {
  /** Starts an answer under the request's deadline. Leaving the iteration stops it. */
  answer(request: AnswerRequest): AsyncIterable<AnswerPiece>;
  /** The embedding of a request with `pooling`, under the same deadline. */
  embed(request: GenerateRequest): Promise<readonly number[]>;
  /** How the pieces of several answers are put in a row. */
  readonly interleave: Interleave;
}

export interface GenerationCall {
  readonly endpoint: string;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Of an answer in tokens. */
  readonly frame?: AnswerFrame;
  /** Of a stream that can be continued. */
  readonly chain?: EventChain | undefined;
}

/** The whole answer as one JSON object. */
export async function respondWhole(context: RouteContext, call: GenerationCall, work: (run: Run) => Promise<object>): Promise<FastifyReply> {
  await within(context, call, async (run) => { call.reply.send(await work(run)); });
  return call.reply;
}

/** The answer as events. @param errorEvent how an error looks once the stream has begun; OpenAI's way unless said otherwise */
export async function respondStream(
  context: RouteContext, call: GenerationCall, work: (run: Run, stream: SseStream) => Promise<void>, errorEvent?: ErrorEvent,
): Promise<FastifyReply> {
  const { keepAliveMs, streamBufferBytesMax: bufferBytesMax, streamFlushTimeoutMs: flushTimeoutMs } = context.options;
  const stream = new SseStream(call.reply, { keepAliveMs, bufferBytesMax, flushTimeoutMs }, call.chain);
  try {
    await within(context, call, (run) => work(run, stream));
  } catch (thrown) {
    if (!stream.opened) {
      stream.abandon();
      throw thrown;
    }
    stream.fail(publicError(thrown, call.request.id, context.log), errorEvent);
  }
  return call.reply;
}

async function within(context: RouteContext, call: GenerationCall, work: (run: Run) => Promise<void>): Promise<void> {
  const allowance = context.limiter.enter(call.request, call.reply);
  try { await generating(context, call, allowance, work); } finally { allowance.leave(); }
}

async function generating(context: RouteContext, { endpoint, request, reply, frame }: GenerationCall, allowance: Allowance, work: (run: Run) => Promise<void>): Promise<void> {
  const { clock, observer } = context;
  const turn = frame?.turn;
  const generator = turn?.generator(context.generator) ?? context.generator;
  const startedMs = clock.now();
  const batch = isBatch(request.headers["priority"]);
  /** The answers to one prompt share it: it is paid for once. */
  const paid = new Set<readonly number[]>();
  const pay = (prompt: readonly number[]): void => {
    if (paid.has(prompt)) return;
    // Only the first can be refused: a stream that has begun is not broken off for it.
    if (paid.size === 0) allowance.prompt(prompt.length);
    else allowance.spend(prompt.length);
    paid.add(prompt);
  };
  const deadlineMs = requestDeadlineMs(request.headers["timeout"], context.options.requestTimeoutMs);
  const scope = openScope(reply, deadlineMs, turn?.signal);
  const tally: Tally = { promptTokens: 0, completionTokens: 0, firstTokenSeconds: undefined, reasons: [] };
  const traceparent = observer.begin({ endpoint, requestId: request.id, traceparent: [request.headers["traceparent"]].flat()[0] });
  const named = { clientRequestId: request.id, ...(traceparent !== undefined && { traceparent }) };
  const report = (code: ErrorCode | "ok") => {
    const outcome = { endpoint, requestId: request.id, code, seconds: (clock.now() - startedMs) / 1000, ...tally };
    observer.finished(outcome);
    context.log.info(outcome, code === "ok" ? "answered" : "an answer ended early");
  };
  if (context.options.logContent) logQuestion(context.log, request);
  const leftMs = () => Math.max(1, Math.round(deadlineMs - (clock.now() - startedMs)));
  const run: Run = {
    // An answer that can be continued elsewhere has its pieces in one order only.
    interleave: turn ? inTurn : merged,
    answer(asked) {
      pay(asked.generate.prompt);
      tally.promptTokens += asked.generate.prompt.length;
      const pieces = answer(generator, { ...asked, generate: withPriority({ ...asked.generate, ...named, deadlineMs: leftMs() }, batch) }, scope.signal);
      const counted = timed(pieces, startedMs, clock, observer, request.id, tally, (tokens) => { allowance.spend(tokens); });
      return context.options.logContent ? logAnswer(context.log, request.id, counted) : counted;
    },
    embed(asked) {
      pay(asked.prompt);
      tally.promptTokens += asked.prompt.length;
      return embeddingOf(generator, withPriority({ ...asked, ...named, deadlineMs: leftMs() }, batch), scope.signal);
    },
  };
  try {
    await work(run);
    report("ok");
  } catch (thrown) {
    report(toMinidError(thrown).code);
    throw thrown;
  } finally {
    scope.close();
    turn?.end();
  }
}
