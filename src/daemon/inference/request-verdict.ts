/** What can be said of a request before anything is computed: that it is over already, or that this ring can never compute it. */
import type { ErrorCode } from "../../core/errors.js";
import type { RingPlan, SubmittedRequest } from "./scheduler-types.js";

export type Verdict = { readonly kind: "finish"; readonly reason: "stop" | "length" } | { readonly kind: "fail"; readonly code: ErrorCode; readonly message: string };

/** @returns undefined for a request to be queued. */
export function verdictOn({ prompt, emitted, maxTokens, stopTokens, pooling }: SubmittedRequest, { contextMax, kvTokensMax }: RingPlan): Verdict | undefined {
  const roomNeeded = pooling === undefined ? 1 : 0;
  if (prompt.length + roomNeeded > contextMax) {
    return { kind: "fail", code: "context_length_exceeded", message: `The prompt has ${prompt.length} tokens and the model's context is ${contextMax}, answer included: shorten the messages.` };
  }
  const lastToken = emitted.at(-1);
  if (lastToken !== undefined && stopTokens.includes(lastToken)) return { kind: "finish", reason: "stop" };
  const known = prompt.length + emitted.length;
  if (pooling === undefined && (emitted.length >= maxTokens || known >= contextMax)) return { kind: "finish", reason: "length" };
  if (known + roomNeeded > kvTokensMax) {
    return { kind: "fail", code: "out_of_kv", message: `The sequence has ${known} tokens and the ring has key-value memory for ${kvTokensMax}: give the machines more memory or add one.` };
  }
  return undefined;
}
