/** What can go wrong with a node or its links, done to real processes and a real network. Each says which of a client's streams it may break. */
import type { Cluster, ClusterNode } from "../support/cluster.js";
import { isAlive } from "../../src/core/process-identity.js";
import { fillDisk, stallWeights } from "../support/disks.js";
import type { NetworkCluster } from "../support/netns-cluster.js";
import { until } from "../support/wait.js";
import type { Random } from "./random.js";

export interface Fault {
  readonly name: FaultName;
  /** Streams whose front door is this node may break: nobody else holds their connection. */
  readonly breaksFrontDoor: boolean;
  /** Resolves when the fault has happened, with what undoes it (start a node again, wake it up), if something has to. */
  readonly strike: (node: ClusterNode, random: Random, network: NetworkCluster | undefined) => Promise<(() => Promise<void>) | undefined>;
  /** Of the links: needs a network, and one of them at a time. */
  readonly links?: true;
}

export const faultNames = ["worker-kill", "worker-abort", "worker-stop", "worker-pause", "agent-kill", "agent-pause", "agent-stop", "node-kill", "pm2-kill", "restart"] as const;
export const linkFaultNames = ["partition", "one-way", "loss"] as const;
export const diskFaultNames = ["disk-full", "disk-stall"] as const;
export type FaultName = (typeof faultNames)[number] | (typeof linkFaultNames)[number] | (typeof diskFaultNames)[number];

const restartDelayMs = [500, 6_000] as const;
const pauseMs = [100, 3_500] as const;
/** Longer than members wait before they plan around a silent machine, shorter than the agent's own watchdog. */
const stopMs = [5_000, 9_000] as const;

const cutMs = [2_000, 15_000] as const;
const fullMs = [3_000, 10_000] as const;
/** More than the bound of a load without progress. */
const stallTimeoutMs = 180_000;
const lossPercent = [3, 15] as const;

const delay = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms); });

/** A whole node comes back as launchd or systemd would bring it back. */
function comesBack(node: ClusterNode, random: Random): () => Promise<void> {
  const afterMs = random.between(...restartDelayMs);
  return async () => {
    await delay(afterMs);
    node.start();
    await node.listening();
  };
}

function paused(part: "agent" | "worker", range: readonly [number, number]): Fault["strike"] {
  return async (node, random) => {
    const forMs = random.between(...range);
    await node.signal(part, "SIGSTOP");
    return async () => {
      await delay(forMs);
      await node.signal(part, "SIGCONT");
    };
  };
}

/** Breaks the network for a while. */
function links(name: FaultName, breakIt: (net: NetworkCluster, node: ClusterNode, random: Random) => Promise<void>): Fault {
  return {
    name, breaksFrontDoor: false, links: true,
    strike: async (node, random, network) => {
      if (!network) throw new Error(`${name} needs a network of namespaces`);
      const forMs = random.between(...cutMs);
      await breakIt(network, node, random);
      return async () => {
        await delay(forMs);
        await network.network.heal();
      };
    },
  };
}

export const faults: readonly Fault[] = [
  // At any moment of its life, its start and its load included.
  { name: "worker-kill", breaksFrontDoor: false, strike: async (node) => {
    const killed = await until(`${node.name} has a worker to kill`, async () => {
      const struck = await node.signal("worker", "SIGKILL");
      return struck.length > 0 && struck;
    });
    await until("the worker is dead", () => !killed.some(isAlive));
    return undefined;
  } },
  // What a failed assertion in a native library does.
  { name: "worker-abort", breaksFrontDoor: false, strike: async (node) => {
    const aborted = await node.signal("worker", "SIGABRT");
    await until("the worker is dead", () => !aborted.some(isAlive));
    return undefined;
  } },
  // For good: its agent has to find it and kill it.
  { name: "worker-stop", breaksFrontDoor: false, strike: async (node) => { await node.signal("worker", "SIGSTOP"); return undefined; } },
  { name: "worker-pause", breaksFrontDoor: false, strike: paused("worker", pauseMs) },
  { name: "agent-kill", breaksFrontDoor: true, strike: async (node) => { await node.kill("agent"); return undefined; } },
  { name: "agent-pause", breaksFrontDoor: false, strike: paused("agent", pauseMs) },
  { name: "agent-stop", breaksFrontDoor: false, strike: paused("agent", stopMs) },
  { name: "node-kill", breaksFrontDoor: true, strike: async (node, random) => { await node.kill("node"); return comesBack(node, random); } },
  // `minid up` ends with it, and both apps follow.
  { name: "pm2-kill", breaksFrontDoor: true, strike: async (node, random) => {
    await node.kill("pm2");
    await until(`${node.name} is down`, () => !node.running);
    return comesBack(node, random);
  } },
  // As an upgrade does it: the node lets its clients' answers end first.
  { name: "restart", breaksFrontDoor: false, strike: async (node) => async () => {
    await node.stop();
    node.start();
    await node.listening();
  } },
  links("partition", ({ network, hostOf }, node) => network.cut(hostOf(node))),
  links("one-way", ({ network, hostOf, cluster }, node, random) => {
    const other = random.pick(cluster.nodes.filter((candidate) => candidate !== node));
    return random.chance(0.5) ? network.cutOneWay(hostOf(node), hostOf(other)) : network.cutOneWay(hostOf(other), hostOf(node));
  }),
  links("loss", ({ network }, _, random) => network.lose(Math.round(random.between(...lossPercent)))),
  // A worker that dies while its disk is full must come back all the same.
  { name: "disk-full", breaksFrontDoor: false, strike: async (node, random) => {
    if (node.modelDirectory === undefined) throw new Error("disk-full needs nodes with disks of their own");
    const makeRoom = fillDisk(node.home);
    await node.kill("worker");
    const forMs = random.between(...fullMs);
    return async () => { await delay(forMs); makeRoom(); };
  } },
  // Its successor hangs while it loads: it has to be found by the loading bound, and killed until the disk reads again.
  { name: "disk-stall", breaksFrontDoor: false, strike: async (node) => {
    if (node.modelDirectory === undefined) throw new Error("disk-stall needs nodes with disks of their own");
    const readAgain = stallWeights(node.modelDirectory);
    const before = (await node.status()).devices.find((device) => device.self)?.worker?.restarts ?? 0;
    await node.kill("worker");
    return async () => {
      await until(`${node.name}'s agent kills the worker that hangs on its disk`, async () => ((await node.status()).devices.find((device) => device.self)?.worker?.restarts ?? 0) >= before + 2, stallTimeoutMs);
      readAgain();
    };
  } },
];

/** Nodes that a fault may strike: `restart` and whole-node faults leave the others, so that somebody can answer. */
export function candidates(cluster: Cluster, fault: Fault, busy: ReadonlySet<ClusterNode>): ClusterNode[] {
  return cluster.nodes.filter((node) => node.running && !busy.has(node) && (cluster.nodes.length > 1 || !["node-kill", "pm2-kill", "restart", "agent-kill"].includes(fault.name)));
}
