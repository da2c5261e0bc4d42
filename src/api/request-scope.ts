/**
 * The life of one client request as one AbortSignal: it ends when the client goes away, when the deadline passes, when another
 * connection takes the answer over or when the handler is done, whichever is first. The signal's reason is the MinidError that tells which.
 */
import { setMaxListeners } from "node:events";
import type { FastifyReply } from "fastify";
import { MinidError } from "../core/errors.js";

export interface RequestScope {
  readonly signal: AbortSignal;
  /** Frees the timer and the listener, and aborts what still runs under the signal. Idempotent. */
  close(): void;
}

/** @param superseded aborted, with a MinidError, when another connection takes the answer over. */
export function openScope(reply: FastifyReply, deadlineMs: number, superseded?: AbortSignal): RequestScope {
  const controller = new AbortController();
  // Every choice and every input of the request listens to it.
  setMaxListeners(0, controller.signal);
  const onSuperseded = () => controller.abort(superseded?.reason);
  superseded?.addEventListener("abort", onSuperseded, { once: true });
  if (superseded?.aborted) onSuperseded();
  const onClose = () => { if (!reply.raw.writableFinished) controller.abort(new MinidError("cancelled", "The client went away.")); };
  const timer = setTimeout(() => {
    controller.abort(new MinidError("deadline_exceeded", `The answer was not complete within ${deadlineMs / 1000} s, the request's deadline.`));
  }, deadlineMs);
  reply.raw.on("close", onClose);
  // Gone already, before the handler began.
  if (reply.raw.destroyed) onClose();
  return {
    signal: controller.signal,
    close() {
      clearTimeout(timer);
      reply.raw.off("close", onClose);
      superseded?.removeEventListener("abort", onSuperseded);
      controller.abort(new MinidError("cancelled", "The request is over."));
    },
  };
}

/**
 * The iterable's items until it ends or the signal aborts, whichever is first: a source that is deaf to its own signal
 * cannot keep a client's request open.
 * @throws the signal's reason
 */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  // One promise for each item: racing them all against one long-lived promise would keep every item's reaction until the end.
  let rejectPending: (reason: unknown) => void = () => {};
  const onAbort = () => rejectPending(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      if (signal.aborted) throw signal.reason as Error;
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        rejectPending = reject;
        iterator.next().then(resolve, reject);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: an async generator's return waits for its pending next, which may be the very thing that is stuck.
    iterator.return?.().catch(() => {});
  }
}
