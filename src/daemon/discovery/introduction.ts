/**
 * An introduction: somebody may be reachable there. Nothing more: heartbeats decide who is alive, and certificates who is who.
 * What comes over multicast is anybody's claim, so it is checked for form and bounded in number, and never trusted.
 */
import { z } from "zod";
import { type Millis, type NodeId, nodeId } from "../../core/ids.js";

export type IntroductionSource = "mdns" | "config" | "join";

export interface Introduction {
  readonly source: IntroductionSource;
  /** host:port of the agent's gRPC. */
  readonly address: string;
  readonly nodeId?: NodeId;
  readonly clusterId?: string;
  readonly clusterName?: string;
  /** Fresh for every start of the other agent. */
  readonly incarnation?: string;
  readonly version?: string;
  readonly httpPort?: number;
}

/** What a node says of itself; TXT keys `id, cluster, inc, ver, http, grpc`, and `name` for the cluster's name. */
export interface Announcement {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly incarnation: string;
  readonly version: string;
  readonly httpPort: number;
  readonly grpcPort: number;
}

const port = z.coerce.number().int().min(1).max(65_535);
const txtSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{32}$/u),
  cluster: z.string().regex(/^[0-9a-f]{32}$/u),
  inc: z.string().min(1).max(64),
  ver: z.string().min(1).max(32),
  http: port,
  grpc: port,
  name: z.string().max(63).default(""),
});

export const toTxt = (self: Announcement): Record<string, string> => ({
  id: self.nodeId, cluster: self.clusterId, inc: self.incarnation, ver: self.version, http: String(self.httpPort), grpc: String(self.grpcPort), name: self.clusterName,
});

/**
 * @param strings the TXT record's character strings, `key=value` each.
 * @param from the address that the packet came from: where the node was really reachable, whatever its A records say.
 * @returns undefined when it is not an announcement of minid's.
 */
export function fromTxt(strings: readonly string[], from: string): Introduction | undefined {
  const pairs = strings.map((text): [string, string] => { const at = text.indexOf("="); return [text.slice(0, Math.max(at, 0)), text.slice(at + 1)]; });
  const parsed = txtSchema.safeParse(Object.fromEntries(pairs));
  if (!parsed.success) return undefined;
  const { id, cluster, inc, ver, http, grpc, name } = parsed.data;
  return { source: "mdns", address: `${from}:${grpc}`, nodeId: nodeId(id), clusterId: cluster, clusterName: name, incarnation: inc, version: ver, httpPort: http };
}

const introductionsMax = 256;
/** An unchanged introduction is repeated so seldom, so that whoever was given up is tried again. */
const repeatIntervalMs = 30_000;

/** Which introductions are worth passing on: new or changed ones at once, unchanged ones now and then. Pure: time is an argument. */
export class IntroductionBook {
  readonly #passed = new Map<string, { readonly incarnation: string | undefined; readonly clusterId: string | undefined; readonly atMs: Millis }>();

  /** @returns whether to pass it on now. */
  offer(introduction: Introduction, now: Millis): boolean {
    const key = `${introduction.nodeId ?? ""}@${introduction.address}`;
    const last = this.#passed.get(key);
    if (last && last.incarnation === introduction.incarnation && last.clusterId === introduction.clusterId && now - last.atMs < repeatIntervalMs) return false;
    this.#passed.delete(key);
    this.#passed.set(key, { incarnation: introduction.incarnation, clusterId: introduction.clusterId, atMs: now });
    // A network that claims more nodes than any cluster has: the oldest claims are forgotten.
    if (this.#passed.size > introductionsMax) for (const oldest of this.#passed.keys()) { this.#passed.delete(oldest); break; }
    return true;
  }
}
