/** A cluster whose nodes are machines of a small real network (`netns.ts`), so that links can be cut; clients reach each node from outside the network, whatever is cut in it. */
import { once } from "node:events";
import { mkdtempSync, realpathSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, ClusterNode, type ClusterOptions } from "./cluster.js";
import { type Host, Network } from "./netns.js";

export const ports = { http: 8100, agent: 50_050, worker: 50_051 } as const;

export interface NetworkCluster {
  readonly cluster: Cluster;
  readonly network: Network;
  /** The machine that a node runs on. */
  readonly hostOf: (node: ClusterNode) => Host;
  stop(): Promise<void>;
}

export async function startNetworkCluster(options: ClusterOptions): Promise<NetworkCluster> {
  const root = options.root ?? process.cwd();
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-net-")));
  const network = await Network.create(options.nodes);
  const doors: Server[] = [];
  const nodes: ClusterNode[] = [];
  for (const host of network.hosts) {
    const name = `node${host.index}`;
    const door = await openDoor(host, join(scratch, `${name}.sock`));
    doors.push(door);
    nodes.push(new ClusterNode({
      name, root, home: join(scratch, name), httpPort: ports.http, agentPort: ports.agent, workerPort: ports.worker,
      url: `http://127.0.0.1:${(door.address() as AddressInfo).port}`,
      prefix: ["ip", "netns", "exec", host.namespace],
      settings: { "grpc-host": "0.0.0.0", "advertise-host": host.address, ...(options.model === undefined ? {} : { model: options.model }), ...options.settings },
    }));
  }
  const cluster = new Cluster(nodes, scratch, options);
  const stop = async (): Promise<void> => {
    await cluster.stop();
    await network.remove();
    for (const door of doors) door.close();
  };
  try {
    await cluster.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { cluster, network, hostOf: (node) => network.host(nodes.indexOf(node) + 1), stop };
}

/** A port of our own loopback that leads to the HTTP port inside the host. */
export async function openDoor(host: Host, path: string): Promise<Server> {
  const relay = host.spawn(process.execPath, [join(process.cwd(), "test", "support", "netns-relay.mjs"), path, String(ports.http)], { stdio: ["ignore", "pipe", "inherit"] });
  if (relay.stdout) await once(relay.stdout, "data");
  const door = createServer((client) => {
    const inside = connect(path);
    client.pipe(inside).pipe(client);
    for (const [one, other] of [[client, inside], [inside, client]] as const) {
      one.on("error", () => { other.destroy(); });
      one.on("close", () => { other.destroy(); });
    }
  });
  door.listen(0, "127.0.0.1");
  await once(door, "listening");
  return door;
}
