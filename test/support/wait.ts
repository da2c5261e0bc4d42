/** Waiting for what must come true, with a deadline: tests never sleep for a guessed time. */
import { setTimeout as delay } from "node:timers/promises";

const pollIntervalMs = 25;

/** What no more waiting can mend: ends the wait at once. */
export class Hopeless extends Error {}

/** Polls until the condition gives something other than false or undefined. @throws with `what` and the last error when the deadline passes, and a Hopeless of the condition at once. */
export async function until<T>(what: string, condition: () => T | Promise<T>, timeoutMs = 30_000): Promise<Exclude<T, false | undefined>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await delay(pollIntervalMs);
  }
}
