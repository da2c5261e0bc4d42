/**
 * Who is calling: a pure judgement over the connection and the headers. A caller from this machine needs no key; one from elsewhere
 * does. What counts as "from this machine" is the address of the connection's other end and nothing that a header claims:
 * a header can only take the privilege away (a request that a proxy passed on comes from wherever the proxy's client is).
 */
import type { IncomingHttpHeaders } from "node:http";
import type { ApiKey, KeyDirectory } from "../../daemon/security/api-keys.js";

export type Caller =
  /** Over the home's own socket, which only the home's user can open: may do everything. */
  | { readonly kind: "home" }
  /** Over the loopback: any user and any browser of this machine. May do everything but give orders. */
  | { readonly kind: "loopback" }
  | { readonly kind: "key"; readonly key: ApiKey }
  | { readonly kind: "nobody"; readonly why: "no key" | "unknown key" };

export interface Connection {
  /** Of the connection's other end; undefined once it is closed. */
  readonly address: string | undefined;
  /** It came over the home's socket. */
  readonly homeSocket: boolean;
  readonly headers: IncomingHttpHeaders;
}

export interface CallerRules {
  readonly keys: KeyDirectory;
  readonly loopbackNeedsKey: boolean;
}

/** Headers that only a proxy adds. */
const proxyHeaders = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via", "cf-connecting-ip", "true-client-ip"] as const;

export function callerOf({ address, homeSocket, headers }: Connection, { keys, loopbackNeedsKey }: CallerRules): Caller {
  if (homeSocket) return { kind: "home" };
  const text = keyIn(headers);
  const key = text === undefined ? undefined : keys.find(text);
  // A key is honoured from the loopback too: its limits and scope can be tried out there.
  if (key) return { kind: "key", key };
  // Without one, a client's placeholder key ("none", "EMPTY") does no harm here.
  if (!loopbackNeedsKey && isLoopback(address) && !proxyHeaders.some((name) => headers[name] !== undefined)) return { kind: "loopback" };
  return { kind: "nobody", why: text === undefined ? "no key" : "unknown key" };
}

/** `Authorization: Bearer KEY`, else `x-api-key: KEY` as Anthropic's clients send it. */
function keyIn(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^bearer +(\S+) *$/iu.exec(headers.authorization ?? "")?.[1];
  return bearer ?? [headers["x-api-key"]].flat()[0];
}

export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:::ffff:)?127\.\d+\.\d+\.\d+$|^::1$/iu.test(address);
}
