/**
 * One server-sent event stream on a hijacked reply.
 *
 * Invariants:
 *  - The status line is sent with the first event or the first keep-alive comment, not before: until then an error is still an
 *    ordinary HTTP error. After that an error is a last event, `data: {"error": …}`, and no `[DONE]` follows it.
 *  - While nothing else is sent, a comment goes out every `keepAliveMs`, so that no proxy or client takes silence for death.
 *  - A reader that leaves more than `bufferBytesMax` unread, or does not take the end within `flushTimeoutMs`, is cut off.
 *  - With a chain every event has an id, and those that the client has are passed over.
 * It does not know what the events mean, and it never waits for the reader: the bound is on bytes, not on time.
 */
import type { FastifyReply } from "fastify";
import type { MinidError } from "../core/errors.js";
import { errorBody } from "./error-response.js";
import type { EventChain } from "./reattach/event-chain.js";

export interface SseOptions {
  readonly keepAliveMs: number;
  readonly bufferBytesMax: number;
  readonly flushTimeoutMs: number;
}

/** How a protocol tells an error within a stream. */
export type ErrorEvent = (error: MinidError) => { readonly data: object; readonly event?: string };

export const openAiErrorEvent: ErrorEvent = (error) => ({ data: errorBody(error) });

export class SseStream {
  readonly #reply: FastifyReply;
  readonly #options: SseOptions;
  readonly #chain: EventChain | undefined;
  readonly #keepAlive: NodeJS.Timeout;
  #opened = false;
  #ended = false;

  /** Ends by itself when the connection closes. @param chain of a stream that can be continued elsewhere */
  constructor(reply: FastifyReply, options: SseOptions, chain?: EventChain) {
    this.#reply = reply;
    this.#options = options;
    this.#chain = chain;
    this.#keepAlive = setInterval(() => this.#write(": keep-alive\n\n"), options.keepAliveMs);
    reply.raw.once("close", () => this.#stop());
  }

  /** True once the status line is out, and errors can only be events. */
  get opened(): boolean { return this.#opened; }

  /**
   * One event. @param event the `event:` line of protocols that name their events.
   * @throws MinidError answer_diverged
   */
  send(data: object, event?: string): void {
    this.#event(JSON.stringify(data), event);
  }

  /** The regular end. @param last what the protocol sends last, OpenAI's `[DONE]`. @throws MinidError answer_diverged */
  end(last?: string): void {
    if (last !== undefined) this.#event(last);
    this.#chain?.end();
    // A client that has every event gets the end of the stream and nothing else.
    if (!this.#ended) this.#open();
    this.#finish();
  }

  /** The end of a stream that has begun and cannot go on. */
  fail(error: MinidError, errorEvent: ErrorEvent = openAiErrorEvent): void {
    const { data, event } = errorEvent(error);
    this.#write(eventText(JSON.stringify(data), event));
    this.#finish();
  }

  /** Gives up without having sent anything: the reply is the caller's again. */
  abandon(): void { this.#stop(); }

  #event(data: string, event?: string): void {
    if (!this.#chain) {
      this.#keepAlive.refresh();
      this.#write(eventText(data, event));
      return;
    }
    const id = this.#chain.next(data);
    if (id === undefined) return;
    this.#keepAlive.refresh();
    this.#write(eventText(data, event, id));
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#reply.hijack();
    this.#reply.raw.writeHead(200, {
      ...this.#reply.getHeaders() as Record<string, string>,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
  }

  #write(text: string): void {
    if (this.#ended) return;
    this.#open();
    const { raw } = this.#reply;
    raw.write(text);
    if (raw.writableLength > this.#options.bufferBytesMax) {
      this.#stop();
      raw.destroy();
    }
  }

  #finish(): void {
    if (this.#ended) return;
    this.#stop();
    const { raw } = this.#reply;
    const cut = setTimeout(() => raw.destroy(), this.#options.flushTimeoutMs);
    cut.unref();
    raw.once("close", () => clearTimeout(cut));
    raw.end();
  }

  #stop(): void {
    clearInterval(this.#keepAlive);
    this.#ended = true;
  }
}

const eventText = (data: string, event?: string, id?: string): string =>
  `${event === undefined ? "" : `event: ${event}\n`}${id === undefined ? "" : `id: ${id}\n`}data: ${data}\n\n`;
