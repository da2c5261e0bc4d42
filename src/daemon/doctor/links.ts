/** Looks from this machine at the others: every address of each at once, and the best of them told. */
import { networkInterfaces } from "node:os";
import type { LinkLook, PortLook, Reach } from "../../checks/link-facts.js";
import type { Transport } from "../../core/transport.js";
import type { TlsMaterial } from "../../core/trust/trust.js";
import { colleague } from "./examine-rpc.js";
import { type Knock, knock, pings } from "./look.js";

export interface Peer {
  readonly nodeId: string;
  readonly device: string;
  /** host:port of its agent, best first; not empty. */
  readonly addresses: readonly string[];
  /** Undefined: not known. */
  readonly workerPort: number | undefined;
  /** It said goodbye. */
  readonly left: boolean;
}

/** From the most telling to the least. An address of many machines (a bridge of containers) answers as a stranger: almost least. */
const telling: readonly Reach[] = ["answers", "refused_us", "expired", "hung", "closed", "stranger", "silent", "unroutable"];
const addressesMax = 8;
/** Connections whose quickest is the round trip. */
const knocks = 3;

/** How quick this machine is with its own agent: what its links are compared with. */
export interface OwnPace { readonly selfRttMs: number | undefined; readonly selfBytesPerSecond: number | undefined }
export const paceUnknown: OwnPace = { selfRttMs: undefined, selfBytesPerSecond: undefined };

export interface LinkOptions { readonly from: string; readonly material: TlsMaterial; readonly transport: Transport; readonly own: OwnPace }

export async function ownPace(host: string, port: number, nodeId: string, { material, transport }: Pick<LinkOptions, "material" | "transport">): Promise<OwnPace> {
  const first = await knock(host, port, nodeId, material);
  if (first.reach !== "answers") return paceUnknown;
  const { rttMs, bytesPerSecond } = await paceOf(host, port, nodeId, material, transport, first);
  return { selfRttMs: rttMs, selfBytesPerSecond: bytesPerSecond };
}

export async function lookAtPeer(peer: Peer, { from, material, transport, own }: LinkOptions): Promise<LinkLook> {
  const looks = await Promise.all(worthTrying(peer.addresses).map(async (address) => {
    const at = address.lastIndexOf(":");
    const [host, port] = [address.slice(0, at), Number(address.slice(at + 1))];
    return { host, port, found: await knock(host, port, peer.nodeId, material) };
  }));
  const best = looks.toSorted((a, b) => telling.indexOf(a.found.reach) - telling.indexOf(b.found.reach))[0];
  if (best === undefined) return { from, to: peer.device, host: peer.device, agent: { port: 0, reach: "unroutable" }, worker: undefined, pings: undefined, rttMs: undefined, bytesPerSecond: undefined, ...own, platform: process.platform };
  const { host, port, found } = best;
  const [worker, ping, pace] = await Promise.all([
    workerLook(host, peer, material),
    found.reach === "silent" || found.reach === "unroutable" ? pings(host) : true,
    found.reach === "answers" ? paceOf(host, port, peer.nodeId, material, transport, found) : { rttMs: undefined, bytesPerSecond: undefined },
  ]);
  return { from, to: peer.device, host, agent: { port, reach: found.reach }, worker, pings: ping, ...pace, ...own, platform: process.platform };
}

async function workerLook(host: string, { workerPort, nodeId }: Peer, material: TlsMaterial): Promise<PortLook | undefined> {
  return workerPort === undefined ? undefined : { port: workerPort, reach: (await knock(host, workerPort, nodeId, material)).reach };
}

async function paceOf(host: string, port: number, nodeId: string, material: TlsMaterial, transport: Transport, first: Knock): Promise<{ readonly rttMs: number | undefined; readonly bytesPerSecond: number | undefined }> {
  const times = [first.connectMs];
  for (let count = 1; count < knocks; count += 1) times.push((await knock(host, port, nodeId, material)).connectMs);
  const known = times.filter((time) => time !== undefined);
  const other = colleague(`${host}:${port}`, nodeId, transport);
  try {
    return { rttMs: known.length === 0 ? undefined : Math.min(...known), bytesPerSecond: await other.measure() };
  } finally { other.close(); }
}

/** As `dialTarget` has it: loopback only when there is nothing else; and never this machine's own addresses, which answer as ourselves. */
function worthTrying(addresses: readonly string[]): readonly string[] {
  const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(":"));
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => list ?? []).map((each) => each.address));
  const outside = addresses.filter((address) => !hostOf(address).startsWith("127.") && !own.has(hostOf(address)));
  return (outside.length > 0 ? outside : addresses).slice(0, addressesMax);
}
