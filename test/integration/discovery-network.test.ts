/** Multicast DNS between real hosts: network namespaces on a bridge. The processes run the compiled tree. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import type { Introduction } from "../../src/daemon/discovery/introduction.js";
import { type MdnsTimes, mdnsTimes } from "../../src/daemon/discovery/mdns-policy.js";
import type { MdnsStatus } from "../../src/daemon/discovery/mdns.js";
import { type Host, Network, whyNoDelay, whyNoNetwork } from "../support/netns.js";
import { until } from "../support/wait.js";

const noNetwork = whyNoNetwork();
if (noNetwork !== undefined) console.log(`discovery between hosts is not tested: ${noNetwork}`);

const noDelay = whyNoDelay();
if (noNetwork === undefined && noDelay !== undefined) console.log(`a slow network is not tested: ${noDelay}`);

const script = fileURLToPath(new URL("../support/netns-mdns-node.mjs", import.meta.url));
/** As in production but for deafness and the slow query, which would each take a minute. */
const times: MdnsTimes = { ...mdnsTimes, selfHearingMs: 4_000, querySlowIntervalMs: 1_000, reopenAfterMs: 1_000 };

let network: Network | undefined;
afterEach(async () => {
  await network?.remove();
  network = undefined;
});

class Node {
  readonly id: string;
  readonly host: Host;
  readonly heard: Introduction[] = [];
  readonly opened: { readonly interface: string; readonly address: string; readonly why: string }[] = [];
  readonly #child: ChildProcess;
  #status: MdnsStatus | undefined;

  constructor(host: Host, incarnation = "1") {
    this.host = host;
    this.id = host.index.toString(16).padStart(2, "0").repeat(16);
    const self = { nodeId: this.id, clusterId: "c1".repeat(16), clusterName: "lab", incarnation, version: "0.1.0", httpPort: 8_100, grpcPort: 50_050 };
    this.#child = host.spawn(process.execPath, [script, JSON.stringify(self), JSON.stringify(times)], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      const said = JSON.parse(line) as { introduction?: Introduction; status?: MdnsStatus; log?: string; interface: string; address: string; why: string };
      if (said.introduction) this.heard.push(said.introduction);
      if (said.status) this.#status = said.status;
      if (said.log === "multicast DNS opened") this.opened.push({ interface: said.interface, address: said.address, why: said.why });
    });
  }

  /** The addresses at which it last heard of the other, in order. */
  addressesOf(other: Node): string[] { return this.heard.filter((each) => each.nodeId === other.id).map((each) => each.address); }

  tell(command: "leader" | "follower"): void { this.#child.stdin?.write(`${command}\n`); }

  async status(): Promise<MdnsStatus> {
    this.#status = undefined;
    this.#child.stdin?.write("status\n");
    return until("the status", () => this.#status);
  }

  forget(): void { this.heard.length = 0; }
  crash(): Promise<void> { return new Promise((resolve) => { this.#child.once("exit", () => { resolve(); }); this.#child.kill("SIGKILL"); }); }
}

const allKnow = (nodes: readonly Node[]): boolean => nodes.every((one) => nodes.every((other) => one === other || one.addressesOf(other).includes(`${other.host.address}:50050`)));

describe.runIf(noNetwork === undefined)("multicast DNS between hosts", () => {
  it("introduces three hosts to each other by the addresses at which they are reachable, and finds one that crashed and came back", async () => {
    network = await Network.create(3);
    const nodes = network.hosts.map((host) => new Node(host));
    await until("everyone knows everyone", () => allKnow(nodes));
    const [one, two] = nodes as [Node, Node, Node];
    await two.crash();
    const again = new Node(two.host, "2");
    await until("the new start is heard", () => one.heard.some((each) => each.nodeId === again.id && each.incarnation === "2"));
  });

  it("introduces nobody while multicast is blocked, and everybody once it passes", async () => {
    network = await Network.create(2);
    await network.blockMulticast();
    const nodes = network.hosts.map((host) => new Node(host)) as [Node, Node];
    await until("both hear themselves", async () => (await Promise.all(nodes.map((node) => node.status()))).every((status) => status.interfaces.some((each) => each.name === "eth0" && each.heardSelfAgoMs !== undefined)));
    expect(nodes.flatMap((node) => node.heard)).toEqual([]);
    await network.heal();
    await until("they know each other", () => allKnow(nodes));
  });

  it("finds its way back after an interface went down and came back, with the same address and with another", async () => {
    network = await Network.create(2);
    const nodes = network.hosts.map((host) => new Node(host)) as [Node, Node];
    const [one, two] = nodes;
    await until("they know each other", () => allKnow(nodes));

    await two.host.interfaceDown();
    await until("the loss is noticed", async () => !(await two.status()).interfaces.some((each) => each.name === "eth0"));
    await two.host.interfaceUp();
    await until("its own voice is heard again", async () => (await two.status()).interfaces.some((each) => each.name === "eth0" && each.heardSelfAgoMs !== undefined));

    await two.host.interfaceDown();
    await two.host.interfaceUp("10.77.0.99");
    await until("it is introduced at its new address", () => one.addressesOf(two).includes("10.77.0.99:50050"));
  });

  it("rebuilds a socket that lost its group without any error, because it does not hear itself", async () => {
    network = await Network.create(2);
    const nodes = network.hosts.map((host) => new Node(host)) as [Node, Node];
    const [one, two] = nodes;
    await until("they know each other", () => allKnow(nodes));
    await until("it hears itself", async () => (await two.status()).interfaces.some((each) => each.name === "eth0" && each.heardSelfAgoMs !== undefined));
    const before = two.opened.length;
    await network.replug(two.host);
    await until("another socket is opened", () => two.opened.length > before);
    await until("it hears itself again", async () => (await two.status()).interfaces.some((each) => each.name === "eth0" && each.heardSelfAgoMs !== undefined));
    two.forget();
    await one.crash();
    const again = new Node(one.host, "2");
    await until("it hears the others again", () => two.heard.some((each) => each.nodeId === again.id && each.incarnation === "2"));
  });

  it("answers for minid.local from the host that is rank 0, and moves with it", async () => {
    network = await Network.create(3);
    const nodes = network.hosts.slice(0, 2).map((host) => new Node(host)) as [Node, Node];
    await until("they know each other", () => allKnow(nodes));
    const third = network.host(3);
    const resolver = fileURLToPath(new URL("../support/netns-ask-leader.mjs", import.meta.url));
    const ask = async () => (await third.run(process.execPath, resolver, third.address)).trim();
    nodes[0].tell("leader");
    await until("rank 0 answers", async () => (await ask()) === nodes[0].host.address);
    nodes[0].tell("follower");
    nodes[1].tell("leader");
    await until("its successor answers", async () => (await ask()) === nodes[1].host.address);
  });
});

describe.runIf(noNetwork === undefined)("a network of namespaces", () => {
  /** A port where nobody listens: a refusal has come all the way back. */
  const knock = "require('node:net').connect(9, process.argv[1]).on('error', (error) => process.exit(error.code === 'ECONNREFUSED' ? 0 : 1)); setTimeout(() => process.exit(2), 500)";
  const reach = (from: Host, to: Host): Promise<boolean> => from.run(process.execPath, "-e", knock, to.address).then(() => true, () => false);

  it.runIf(noDelay === undefined)("delays every packet by as much as told, both ways, until it is healed", async () => {
    network = await Network.create(2);
    const [a, b] = network.hosts as [Host, Host];
    const timed = "const at = performance.now(); require('node:net').connect(9, process.argv[1]).on('error', () => { console.log(performance.now() - at); process.exit(0); }); setTimeout(() => process.exit(2), 5000)";
    const roundMs = async () => Number(await a.run(process.execPath, "-e", timed, b.address));
    // The first packet asks for the hardware address, which is delayed too.
    await roundMs();
    await network.delay(150);
    expect(await roundMs()).toBeGreaterThan(295);
    await network.heal();
    await until("packets pass at once again", async () => (await roundMs()) < 290);
  });

  it("cuts, loses and heals as told, and leaves nothing behind", async () => {
    network = await Network.create(3);
    const [a, b, c] = network.hosts as [Host, Host, Host];
    expect(await reach(a, b)).toBe(true);
    await network.cut(b);
    expect([await reach(a, b), await reach(a, c)]).toEqual([false, true]);
    await network.heal();
    await network.cutOneWay(a, b);
    expect([await reach(a, b), await reach(c, b)]).toEqual([false, true]);
    await network.heal();
    await network.lose(99);
    expect((await Promise.all([1, 2, 3].map(() => reach(c, b)))).filter(Boolean).length).toBeLessThan(3);
    await network.heal();
    expect(await reach(a, b)).toBe(true);
    const { namespace } = a;
    const inside = a.spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    await network.remove();
    network = undefined;
    expect(inside.signalCode).toBe("SIGKILL");
    const left = await Network.namespaces();
    expect(left.filter((name) => name.startsWith(namespace.replace(/-1$/u, "")))).toEqual([]);
  });
});
