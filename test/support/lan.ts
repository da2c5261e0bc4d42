/**
 * Real nodes on a real network: each in a network namespace of its own with the ports and settings of production, so that they
 * find each other, or do not, as machines would. The test reaches their HTTP by a door in the file system, which no fault of the
 * network touches.
 *
 *   const lan = await createLan(3);
 *   lan.node(1).start();
 *   await lan.node(1).listening();
 *   for (const node of lan.nodes.slice(1)) node.start(await lan.bareToken());
 *   await lan.ready();
 *
 * `remove()` leaves no process, namespace or file behind; MINID_KEEP=1 keeps the homes.
 */
import { mkdtempSync, realpathSync } from "node:fs";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeToken, encodeToken } from "../../src/daemon/security/token.js";
import { Cluster, ClusterNode, type ClusterOptions } from "./cluster.js";
import { type Host, Network } from "./netns.js";
import { openDoor, ports } from "./netns-cluster.js";

/** Addresses are the node's own to find. */
const asInProduction = { "http-host": undefined, "grpc-host": undefined, "advertise-host": undefined, mdns: undefined };

export type LanOptions = Pick<ClusterOptions, "model" | "settings" | "settingsOf" | "readyTimeoutMs">;

/** Hosts and their nodes; no node is started. */
export async function createLan(nodes: number, options: LanOptions = {}): Promise<Lan> {
  const network = await Network.create(nodes);
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-lan-")));
  const doors: Server[] = [];
  try {
    for (const host of network.hosts.slice(0, nodes)) doors.push(await openDoor(host, join(scratch, `door${host.index}`)));
  } catch (error) {
    for (const door of doors) door.close();
    await network.remove();
    throw error;
  }
  return new Lan(network, doors, scratch, options);
}

export class Lan extends Cluster {
  readonly network: Network;
  readonly #doors: readonly Server[];

  constructor(network: Network, doors: readonly Server[], scratch: string, options: LanOptions) {
    const nodes = doors.map((door, index) => new ClusterNode({
      name: `node${index + 1}`, home: join(scratch, `node${index + 1}`), root: process.cwd(), httpPort: ports.http, agentPort: ports.agent, workerPort: ports.worker,
      prefix: ["ip", "netns", "exec", network.host(index + 1).namespace], url: `http://127.0.0.1:${(door.address() as AddressInfo).port}`,
      settings: { ...asInProduction, ...(options.model === undefined ? {} : { model: options.model }), ...options.settings, ...options.settingsOf?.(index) },
    }));
    super(nodes, scratch, { nodes: nodes.length, ...(options.readyTimeoutMs === undefined ? {} : { readyTimeoutMs: options.readyTimeoutMs }) });
    this.network = network;
    this.#doors = doors;
  }

  /** 1 for the first, like the hosts. */
  node(index: number): ClusterNode {
    const node = this.nodes[index - 1];
    if (!node) throw new Error(`there is no node ${index}`);
    return node;
  }

  hostOf(node: ClusterNode): Host { return this.network.host(this.nodes.indexOf(node) + 1); }

  /** A join token of the node's cluster that names nobody's address. */
  async bareToken(from = this.node(1)): Promise<string> { return encodeToken({ ...decodeToken(await from.token()), hints: [] }); }

  async remove(): Promise<void> {
    await this.stop();
    for (const door of this.#doors) door.close();
    await this.network.remove();
  }
}
