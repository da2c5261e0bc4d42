/**
 * The main thread's handle on the engine thread: sends requests, pairs the replies, and knows at any instant, without asking,
 * how far the thread is. The thread is started once and lives as long as the process; its death is the process's.
 */
import { Worker } from "node:worker_threads";
import { MinidError } from "../core/errors.js";
import type { EngineName } from "./engines/engine.js";
import { ProgressBoard } from "./progress-board.js";
import type { ThreadData, ThreadReply, ThreadRequest, ThreadRequestMessage, ThreadResult, ThreadResults } from "./thread-protocol.js";

interface Waiting { readonly resolve: (result: ThreadResult) => void; readonly reject: (error: Error) => void }

type RequestOf<K extends ThreadRequest["kind"]> = Extract<ThreadRequest, { readonly kind: K }>;

export interface EngineHostOptions {
  /** Called if the thread ends although nobody closed it. */
  readonly onDeath: (reason: string) => void;
  /** The thread got something to do, or has done everything. */
  readonly onActivity: () => void;
  /** The engine whose library is loaded ahead of need. */
  readonly preload?: EngineName;
  readonly home?: string;
}

export class EngineHost {
  readonly board = new ProgressBoard();
  readonly #thread: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onActivity: () => void;
  readonly #onIdle = new Set<() => void>();
  #nextId = 1;
  #loads = 0;
  #closing = false;

  constructor({ onDeath, onActivity, preload, home }: EngineHostOptions) {
    this.#onActivity = onActivity;
    const workerData: ThreadData = { board: this.board.memory, preload, home };
    this.#thread = new Worker(new URL("./engine-thread.js", import.meta.url), { workerData, name: "minid-engine" });
    this.#thread.on("message", (reply: ThreadReply) => { this.#settle(reply); });
    this.#thread.on("error", (error) => { onDeath(`the engine thread failed: ${error instanceof Error ? error.stack ?? error.message : String(error)}`); });
    this.#thread.on("exit", (code) => { if (!this.#closing) onDeath(`the engine thread ended with code ${code}`); });
  }

  /** Requests that the thread has not answered. */
  get inflight(): number { return this.#waiting.size; }

  /** @throws MinidError as the thread answers: a request that failed has changed nothing. */
  async request<K extends ThreadRequest["kind"]>(request: RequestOf<K>, transfer: readonly ArrayBuffer[] = []): Promise<ThreadResults[K]> {
    const id = this.#nextId;
    this.#nextId += 1;
    const message: ThreadRequestMessage = { id, request };
    const result = await new Promise<ThreadResult>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#thread.postMessage(message, transfer);
      if (this.#waiting.size === 1) this.#onActivity();
    });
    // The thread answers each kind of request with that kind's result.
    return result as ThreadResults[K];
  }

  /** Loads a stage in the place of the one that is loaded; a load under way gives up at its next chunk. */
  load(options: RequestOf<"load">["options"]): Promise<ThreadResults["load"]> {
    this.board.set("cancelledLoad", this.#loads);
    this.#loads += 1;
    this.board.set("bytesLoaded", 0);
    this.board.set("bytesTotal", 0);
    return this.request<"load">({ kind: "load", loadNumber: this.#loads, options });
  }

  /** A load under way gives up at its next chunk; what is loaded goes. */
  async unload(): Promise<void> {
    this.board.set("cancelledLoad", this.#loads);
    await this.request<"unload">({ kind: "unload" });
  }

  /** Resolves when every request sent so far and meanwhile is answered. */
  async idle(): Promise<void> {
    while (this.#waiting.size > 0) await new Promise<void>((resolve) => { this.#onIdle.add(resolve); });
  }

  /** Ends the thread. Only when idle: native code that is interrupted aborts the process. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#thread.terminate();
  }

  #settle(reply: ThreadReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("result" in reply) waiting?.resolve(reply.result);
    else waiting?.reject(new MinidError(reply.errorCode, reply.error));
    if (this.#waiting.size > 0) return;
    this.#onActivity();
    for (const resolve of this.#onIdle) resolve();
    this.#onIdle.clear();
  }
}
