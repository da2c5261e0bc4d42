/**
 * The client that docs/API.md describes: asks any of several front doors for a stream, and when the connection breaks asks the next
 * one for the same answer, from the last event that arrived whole. Knows nothing of minid but HTTP, server-sent events and the
 * retry rules; keeps every event as it came, so that two answers can be compared exactly.
 */
import { setTimeout as delay } from "node:timers/promises";

export interface SseEvent { readonly id: string; readonly data: string }

export interface ReattachedStream {
  readonly events: readonly SseEvent[];
  /** Connections it took, the first one included, and those that answered with a refusal to be retried. */
  readonly connections: number;
  readonly refusals: number;
  /** From each break of a connection to the next new event. */
  readonly gapsMs: readonly number[];
}

export interface ReattachingRequest {
  /** Front doors, in the order in which they are tried. */
  readonly urls: readonly string[];
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly key: string;
  readonly onEvent?: (count: number) => void;
  readonly giveUpAfterMs?: number;
}

const pauseFirstMs = 100;
const pauseMaxMs = 2_000;
/** Without even a keep-alive comment for that long, the connection is dead. */
const silenceMs = 20_000;
/** What a request that may succeed later is answered with. */
const retryable = (status: number): boolean => status === 408 || status === 429 || status >= 500;

class Broken extends Error {}

/** @throws when an answer is refused for good, or the time is up. */
export async function reattachingStream({ urls, path, body, key, onEvent, giveUpAfterMs = 180_000 }: ReattachingRequest): Promise<ReattachedStream> {
  const events: SseEvent[] = [];
  const gapsMs: number[] = [];
  const deadline = performance.now() + giveUpAfterMs;
  let brokenAt: number | undefined;
  let refusals = 0;
  let pauseMs = pauseFirstMs;
  for (let connections = 1; ; connections += 1) {
    const url = urls[(connections - 1) % urls.length]!;
    try {
      const last = events.at(-1)?.id;
      for await (const event of connection(`${url}${path}`, body, { "idempotency-key": key, ...(last === undefined ? {} : { "last-event-id": last }) })) {
        if (brokenAt !== undefined) gapsMs.push(performance.now() - brokenAt);
        brokenAt = undefined;
        pauseMs = pauseFirstMs;
        events.push(event);
        onEvent?.(events.length);
      }
      return { events, connections, refusals, gapsMs };
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      if (error.message.startsWith("HTTP")) refusals += 1;
      brokenAt ??= performance.now();
      if (performance.now() > deadline) throw new Error(`gave up after ${events.length} events and ${connections} connections: ${error.message}`, { cause: error });
      await delay(pauseMs);
      pauseMs = Math.min(pauseMaxMs, pauseMs * 2);
    }
  }
}

/** One connection's events. Ends when the stream ends as its protocol says. @throws Broken when it may be tried again */
async function* connection(url: string, body: object, headers: Record<string, string>): AsyncGenerator<SseEvent> {
  const gone = new AbortController();
  let timer = setTimeout(() => gone.abort(), silenceMs);
  try {
    const response = await attempt(() => fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), signal: gone.signal }));
    if (!response.ok) {
      const text = await response.text();
      if (retryable(response.status)) throw new Broken(`HTTP ${response.status}: ${text}`);
      throw new Error(`refused with ${response.status}: ${text}`);
    }
    const decoder = new TextDecoder();
    const reader = response.body!.getReader();
    let rest = "";
    let ended = Number(response.headers.get("content-length") ?? -1) === 0;
    for (;;) {
      const { value, done } = await attempt(() => reader.read());
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(() => gone.abort(), silenceMs);
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event === undefined) continue;
        if (event.id === "") throw isRetryable(event.data) ? new Broken(event.data) : new Error(`the stream ended with ${event.data}`);
        ended ||= isLast(event.data);
        yield event;
      }
    }
    // The regular end of a chunked body; a connection that breaks makes the read fail instead.
    if (!ended && rest !== "") throw new Broken("the stream ended within an event");
  } finally { clearTimeout(timer); }
}

async function attempt<T>(call: () => Promise<T>): Promise<T> {
  try { return await call(); } catch (error) { throw new Broken(`the connection broke: ${String(error instanceof Error ? error.cause ?? error : error)}`); }
}

/** @returns undefined for a comment. An event without an id is an error. */
function parse(block: string): SseEvent | undefined {
  const field = (name: string) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const data = field("data");
  return data === undefined ? undefined : { id: field("id") ?? "", data };
}

const isLast = (data: string): boolean => data === "[DONE]" || /"type":"(?:message_stop|response\.(?:completed|incomplete))"/u.test(data);

/** Codes of docs/ERRORS.md that nothing is gained by trying again. */
const finalCodes = ["superseded", "answer_diverged", "invalid_value"];
const isRetryable = (data: string): boolean => !finalCodes.some((code) => data.includes(`"${code}"`));
