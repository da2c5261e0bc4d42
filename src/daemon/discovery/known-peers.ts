/**
 * Addresses worth trying at the next start, kept in `<home>/peers.json`: where this machine joined, and who it met last. With
 * them a machine finds its cluster again with neither multicast nor configuration.
 */
import { join } from "node:path";
import { z } from "zod";
import { readDurable, writeDurable } from "../../core/durable-file.js";

const peersMax = 64;
const schema = z.object({ addresses: z.array(z.string().max(300)).max(peersMax) });
const fileOf = (home: string): string => join(home, "peers.json");

/** host:port, the latest first. A damaged file counts as none: it only ever saves time. */
export async function readKnownPeers(home: string): Promise<readonly string[]> {
  const known = await readDurable(fileOf(home), schema).catch(() => undefined);
  return known?.addresses ?? [];
}

/** Puts addresses in front of those known. Writes only when that changes anything. */
export async function rememberPeers(home: string, addresses: readonly string[]): Promise<void> {
  const before = await readKnownPeers(home);
  const after = [...new Set([...addresses, ...before])].slice(0, peersMax);
  if (after.length !== before.length || after.some((address, index) => address !== before[index])) await writeDurable(fileOf(home), { addresses: after });
}
