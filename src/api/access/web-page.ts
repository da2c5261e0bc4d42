/**
 * Callers on the loopback need no key, and a browser on this machine is one of them, whatever page it shows. Two ways lead from a
 * stranger's page to us, and both are closed here. Pure.
 *
 *  - DNS rebinding: the page's own name is made to point at 127.0.0.1, so that to the browser we are the page's server. It gives itself
 *    away by the `Host` header: a name that is not ours. An address in its place is no risk: rebinding needs a name.
 *  - A request across origins, sent blindly. The browser says so in `Origin`; only pages that we serve ourselves or that the
 *    configuration lists may call.
 *
 * Does not apply to callers with a key: a page that was not given one cannot have it, so a name we do not know does no harm.
 */
import { isIP } from "node:net";
import { MinidError } from "../../core/errors.js";

export interface WebPageRules {
  /** Names of this machine, lower case; `.example.com` stands for all below it, `*` for any. */
  readonly hostNames: readonly string[];
  /** Origins that may call, as browsers write them: `https://chat.example.com`; `*` for any. */
  readonly origins: readonly string[];
}

/** @param hosts every `Host` header of the request. @returns why the request is refused, if it is. */
export function webPageRefusal(hosts: readonly string[], origin: string | undefined, { hostNames, origins }: WebPageRules): MinidError | undefined {
  const [host = ""] = hosts;
  const name = hostNameOf(host);
  if (hosts.length !== 1 || name === undefined || !isOurs(name, hostNames)) {
    return new MinidError("host_not_allowed", `The request is for the host ${JSON.stringify(host.slice(0, 100))}, which is no name of this machine that minid knows. Use an address or localhost, send an API key, or add the name to http_allowed_hosts.`);
  }
  if (origin === undefined || origins.includes("*") || origins.includes(origin) || origin === `http://${host}` || origin === `https://${host}`) return undefined;
  return new MinidError("origin_not_allowed", `A web page of ${JSON.stringify(origin.slice(0, 100))} may not use this API. Add the origin to http_cors_origins if it should.`);
}

/** Without the port, lower case, addresses without brackets; undefined for what is no host. */
function hostNameOf(host: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/\s@]+))(?::\d{1,5})?$/iu.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/u, "");
}

function isOurs(name: string, hostNames: readonly string[]): boolean {
  if (isIP(name) !== 0 || name === "localhost" || name.endsWith(".localhost")) return true;
  return hostNames.some((known) => known === "*" || known === name || (known.startsWith(".") && name.endsWith(known)));
}
