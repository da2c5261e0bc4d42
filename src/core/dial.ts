/**
 * The gRPC target of a peer that may be at several addresses. A machine announces every address it has, and only some are
 * reachable from here: one may belong to a bridge of its containers, or to a network that we are not in. So no caller picks the
 * first: all are tried, a quarter of a second apart, and the certificate shows which of them is the peer.
 */
import { isIPv4 } from "node:net";

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(":"));

const isLoopback = (address: string): boolean => address.startsWith("127.");

/**
 * @param addresses host:port, best first. A name comes only from a person's configuration, so it stands alone when it is first; behind
 *   addresses it is left out. Loopback is where nodes of one machine meet that has no network: only tried when there is nothing else.
 */
export function dialTarget(addresses: readonly string[]): string {
  const [best = ""] = addresses;
  if (!isIPv4(hostOf(best))) return best;
  const numeric = addresses.filter((address) => isIPv4(hostOf(address)));
  const outside = numeric.filter((address) => !isLoopback(address));
  const tried = outside.length > 0 ? outside : numeric;
  return tried.length === 1 ? tried[0] ?? "" : `ipv4:${tried.join(",")}`;
}
