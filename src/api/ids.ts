/** Identifiers and seeds that the front door hands out: random, because they must be unique across nodes and restarts. */
import { randomBytes, randomInt } from "node:crypto";
import { limits } from "./options.js";

/** `chatcmpl-` and 24 hex digits, in OpenAI's manner. */
export const newId = (prefix: string): string => `${prefix}${randomBytes(12).toString("hex")}`;

/** For a request that names no seed. */
export const newSeed = (): number => randomInt(2 ** 48 - 1);

/** The client's own `x-request-id` when it is printable and short, else a new one. */
export function requestId(header: string | readonly string[] | undefined): string {
  return typeof header === "string" && header.length <= limits.requestIdChars && /^[\x21-\x7e]+$/u.test(header) ? header : newId("req_");
}
