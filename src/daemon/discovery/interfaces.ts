/** Which interfaces multicast DNS uses: every IPv4 address that is up, the machine's own loopback last. */
import { networkInterfaces } from "node:os";
import type { InterfaceAddress } from "./mdns-policy.js";

/**
 * One address for each interface: a second address on it reaches the same neighbours.
 * @param only the one IPv4 address to use, when somebody chose one.
 */
export function usableInterfaces(only?: string, all: ReturnType<typeof networkInterfaces> = networkInterfaces()): InterfaceAddress[] {
  const addresses = Object.entries(all).flatMap(([name, entries = []]) => entries.filter((entry) => entry.family === "IPv4").map(({ address, internal }) => ({ name, address, internal })));
  if (only !== undefined) return addresses.filter((each) => each.address === only);
  const first = addresses.filter((each, index) => addresses.findIndex((other) => other.name === each.name) === index);
  return first.toSorted((a, b) => Number(a.internal) - Number(b.internal));
}
