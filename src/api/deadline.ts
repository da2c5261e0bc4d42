/** How long a request may take: what its `timeout` header asks for, in seconds, else the server's default. */
import { MinidError } from "../core/errors.js";

const timeoutSecondsMax = 86_400;

/** @throws MinidError invalid_value */
export function requestDeadlineMs(header: string | readonly string[] | undefined, defaultMs: number): number {
  if (header === undefined) return defaultMs;
  const seconds = typeof header === "string" && /^\d{1,6}(\.\d{1,6})?$/u.test(header) ? Number(header) : NaN;
  if (seconds > 0 && seconds <= timeoutSecondsMax) return Math.max(1, Math.round(seconds * 1000));
  throw new MinidError("invalid_value", `Invalid value for the header 'timeout': it is a number of seconds, above 0 and at most ${timeoutSecondsMax}.`, { param: "timeout" });
}
