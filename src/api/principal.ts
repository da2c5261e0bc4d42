/** Whose request it is: what one client's answers are kept apart from another's by. */
import type { FastifyRequest } from "fastify";

/** @returns the id of the API key that the request came with; empty for callers of this machine, who need none. */
export function principalOf({ caller }: FastifyRequest): string {
  return caller.kind === "key" ? caller.key.keyId : "";
}
