/**
 * The first thing a request meets: who calls, and whether that address is for them. Runs before the body is read, so what is
 * refused costs nothing. Sets `request.caller` for whoever asks later (limits, stored answers).
 */
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { MinidError } from "../../core/errors.js";
import { type Caller, type CallerRules, callerOf } from "./caller.js";
import { type Need, allows, needOf } from "./rules.js";
import { type WebPageRules, webPageRefusal } from "./web-page.js";

declare module "fastify" {
  interface FastifyRequest { caller: Caller }
}

const nobody: Caller = Object.freeze({ kind: "nobody", why: "no key" });

export interface AccessRules extends CallerRules {
  readonly webPages: () => WebPageRules;
}

/** @param homeSockets connections that came over the home's own socket. */
export function guardAccess(server: FastifyInstance, rules: AccessRules, homeSockets: WeakSet<Socket>): void {
  const callers = new WeakMap<object, Caller>();
  server.decorateRequest("caller", { getter() { return callers.get(this) ?? nobody; } });
  server.addHook("onRequest", async (request, reply) => {
    const { socket, headers, routeOptions } = request;
    const caller = callerOf({ address: socket.remoteAddress, homeSocket: homeSockets.has(socket), headers }, rules);
    callers.set(request, caller);
    const fromPage = caller.kind === "loopback" ? webPageRefusal(valuesOf(request.raw.rawHeaders, "host"), headers.origin, rules.webPages()) : undefined;
    const refusal = fromPage ?? refusalOf(caller, needOf(request.is404 ? undefined : routeOptions.url));
    if (!refusal) return;
    if (refusal.code === "invalid_api_key") reply.header("www-authenticate", 'Bearer realm="minid"');
    throw refusal;
  });
}

/** Every value of a header: Node keeps the first of a second `Host`, and something before us may have gone by the other. */
const valuesOf = (rawHeaders: readonly string[], name: string): string[] =>
  rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);

function refusalOf(caller: Caller, need: Need): MinidError | undefined {
  if (need === "open" || caller.kind === "home") return undefined;
  if (caller.kind === "loopback") {
    return need !== "admin" ? undefined : new MinidError("invalid_api_key", "Orders need an API key with the admin scope, from this machine too; commands of minid use the home's socket instead.");
  }
  if (caller.kind === "nobody") {
    return new MinidError("invalid_api_key", caller.why === "no key"
      ? "From another machine an API key is needed: send the header Authorization: Bearer KEY (or x-api-key: KEY). `minid key create` on a machine of the cluster makes one."
      : "The API key is not one of this cluster's, or it was revoked or has expired. `minid key list` on a machine of the cluster shows the keys.");
  }
  if (allows(caller.key.scopes, need)) return undefined;
  return new MinidError("insufficient_scope", `The API key ${JSON.stringify(caller.key.name)} is for ${caller.key.scopes.join(" and ")}; this address needs ${need}. \`minid key create --scope ${need}\` makes one.`);
}
