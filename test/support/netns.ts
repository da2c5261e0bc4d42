/**
 * A small real network for tests: hosts in network namespaces of their own, joined by a bridge in another, so that nothing of it
 * is seen outside and deleting the namespaces takes everything along. Faults happen in the bridge, as in a real network: the
 * hosts notice nothing but what does not arrive. Linux, root, `ip` and `nft` needed: see `whyNoNetwork`.
 *
 * Delay is made by a relay of the test's own (netns-delay.py), because the kernel here has no netem: see `whyNoDelay`.
 */
import { type ChildProcess, type SpawnOptions, execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";

const delayRelay = fileURLToPath(new URL("netns-delay.py", import.meta.url));
const commandTimeoutMs = 10_000;
const hostsMax = 16;

function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, [...args], { timeout: commandTimeoutMs, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(" ")}: ${stderr.trim() || error.message}`));
      else resolve(stdout);
    });
    // A command that fails before it has read its input is reported by the callback above.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input ?? "");
  });
}

const ip = (...args: readonly string[]): Promise<string> => run("ip", args);

/** Undefined when namespaces can be made here, else the reason, for the one line that a test prints when it cannot run. */
export function whyNoNetwork(): string | undefined {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const probe = `minid-probe-${process.pid}`;
  try {
    execFileSync("nft", ["--version"], { stdio: "ignore" });
    execFileSync("ip", ["netns", "add", probe], { stdio: "ignore" });
    execFileSync("ip", ["netns", "del", probe], { stdio: "ignore" });
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made here: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
  }
}

/** Undefined when `Network.delay` works where networks do, else the reason. */
export function whyNoDelay(): string | undefined {
  try { execFileSync("python3", ["--version"], { stdio: "ignore" }); return undefined; } catch { return "packets are delayed by a relay in Python 3, which is not installed"; }
}

export class Host {
  /** 1 for the first. */
  readonly index: number;
  readonly namespace: string;
  readonly interface = "eth0";
  readonly #network: Network;
  #address: string;

  constructor(network: Network, index: number, namespace: string, address: string) {
    this.#network = network;
    this.index = index;
    this.namespace = namespace;
    this.#address = address;
  }

  /** IPv4, as it is now. */
  get address(): string { return this.#address; }
  /** The host's port on the bridge. */
  get port(): string { return `p${this.index}`; }
  /** Where the delayed traffic of that port enters the bridge: its own end, and the relay's. */
  get delayed(): { readonly port: string; readonly relay: string } { return { port: `d${this.index}`, relay: `q${this.index}` }; }

  /** Runs a command to its end inside the host. @returns standard output. */
  run(command: string, ...args: readonly string[]): Promise<string> {
    return ip("netns", "exec", this.namespace, command, ...args);
  }

  /** Starts a process inside the host; the network kills it when it is removed. `ip` replaces itself by it, so its pid is the process's own. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn("ip", ["netns", "exec", this.namespace, command, ...args], options);
    this.#network.own(child);
    return child;
  }

  async interfaceDown(): Promise<void> { await ip("-n", this.namespace, "link", "set", this.interface, "down"); }

  /** Up again, with the same or with another address (`10.77.0.<last>`). */
  async interfaceUp(address = this.#address): Promise<void> {
    if (address !== this.#address) {
      await ip("-n", this.namespace, "address", "flush", "dev", this.interface);
      await ip("-n", this.namespace, "address", "add", `${address}/24`, "broadcast", "+", "dev", this.interface);
      this.#address = address;
    }
    await ip("-n", this.namespace, "link", "set", this.interface, "up");
    await this.addMulticastRoute();
  }

  /** A default route: multicast leaves by it when a program names no interface. The kernel drops it whenever the interface goes down. */
  async addMulticastRoute(): Promise<void> { await ip("-n", this.namespace, "route", "replace", "default", "dev", this.interface); }
}

export class Network {
  readonly hosts: readonly Host[];
  readonly #switch: string;
  readonly #faults = new Map<string, string>();
  readonly #children = new Set<ChildProcess>();
  #relay: ChildProcess | undefined;
  readonly #onExit = (): void => { this.#removeNow(); };

  /** @param count of hosts, all on one bridge, addresses 10.77.0.1 and up. */
  static async create(count: number): Promise<Network> {
    if (count < 1 || count > hostsMax) throw new Error(`${count} hosts: 1 to ${hostsMax} are possible`);
    const network = new Network(count, `minid-${process.pid}-${randomBytes(3).toString("hex")}`);
    try {
      await network.#build();
    } catch (error) {
      network.#removeNow();
      throw error;
    }
    return network;
  }

  private constructor(count: number, name: string) {
    this.#switch = `${name}-switch`;
    this.hosts = Array.from({ length: count }, (_, at) => new Host(this, at + 1, `${name}-${at + 1}`, `10.77.0.${at + 1}`));
    process.once("exit", this.#onExit);
  }

  /** The namespaces of this machine, ours and others'. */
  static async namespaces(): Promise<string[]> {
    return (await ip("netns", "list")).split("\n").map((line) => line.split(" ")[0] ?? "").filter((name) => name !== "");
  }

  /** The host that the test knows to be there. */
  host(index: number): Host {
    const host = this.hosts[index - 1];
    if (!host) throw new Error(`there is no host ${index}`);
    return host;
  }

  own(child: ChildProcess): void {
    this.#children.add(child);
    child.once("exit", () => { this.#children.delete(child); });
  }

  /** Nothing from or to the host. Its own interface stays up. */
  cut(host: Host): Promise<void> { return this.#fault(`cut ${host.index}`, `iifname "${host.port}" drop; oifname "${host.port}" drop`); }
  /** Nothing from one host to the other; the way back stays open. */
  cutOneWay(from: Host, to: Host): Promise<void> { return this.#fault(`one way ${from.index} ${to.index}`, `iifname "${from.port}" oifname "${to.port}" drop`); }
  /** This share of all packets is lost, in every direction. */
  lose(percent: number): Promise<void> {
    if (!(percent > 0 && percent < 100)) throw new Error(`${percent} % of the packets: more than 0 and less than 100 can be lost`);
    return this.#fault("loss", `numgen random mod 100 < ${percent} drop`);
  }
  /** Multicast DNS does not pass; everything else does. */
  blockMulticast(): Promise<void> { return this.#fault("multicast", "ether daddr 01:00:5e:00:00:fb drop"); }
  /** Connections to that TCP port of the host do not get through. */
  blockPort(host: Host, port: number): Promise<void> { return this.#fault(`port ${host.index} ${port}`, `oifname "${host.port}" tcp dport ${port} drop`); }

  /** Every packet from one host to another takes this much longer, in each direction. The other faults do not work meanwhile: they go by ports. */
  async delay(ms: number): Promise<void> {
    if (this.#relay) throw new Error("packets are delayed already");
    for (const { delayed } of this.hosts) {
      await ip("-n", this.#switch, "link", "add", delayed.port, "type", "veth", "peer", "name", delayed.relay);
      await ip("-n", this.#switch, "link", "set", delayed.relay, "up");
      await ip("-n", this.#switch, "link", "set", delayed.port, "master", "br0", "up");
    }
    // Out of one host and into the other: half of it each.
    const relay = spawn("ip", ["netns", "exec", this.#switch, "python3", delayRelay, String(ms / 2), ...this.hosts.map(({ port, delayed }) => `${port}:${delayed.relay}`)], { stdio: ["pipe", "pipe", "inherit"] });
    this.own(relay);
    this.#relay = relay;
    await new Promise<void>((resolve, reject) => {
      relay.stdout?.once("data", () => { resolve(); });
      relay.once("exit", (code) => { reject(new Error(`the relay that delays packets ended with ${code}`)); });
    });
    for (const { port } of this.hosts) await ip("-n", this.#switch, "link", "set", port, "nomaster");
  }

  async #endDelay(): Promise<void> {
    const relay = this.#relay;
    if (!relay) return;
    this.#relay = undefined;
    const ended = new Promise<void>((resolve) => { relay.once("exit", () => { resolve(); }); });
    relay.kill("SIGKILL");
    await ended;
    for (const { port, delayed } of this.hosts) {
      await ip("-n", this.#switch, "link", "del", delayed.port);
      await ip("-n", this.#switch, "link", "set", port, "master", "br0");
    }
  }

  /** Takes the host's interface away and gives it another one with the same name and address, as unplugging an adapter does. */
  async replug(host: Host): Promise<void> {
    await ip("-n", host.namespace, "link", "del", host.interface);
    await this.#plugIn(host);
  }

  /** Ends every fault. Interfaces that are down stay down. */
  async heal(): Promise<void> {
    this.#faults.clear();
    await this.#endDelay();
    await this.#apply();
  }

  /** Kills what still runs in the hosts and removes the network. */
  async remove(): Promise<void> {
    const ended = [...this.#children].map((child) => new Promise<void>((resolve) => { child.once("exit", () => { resolve(); }); child.kill("SIGKILL"); }));
    await Promise.all(ended);
    this.#removeNow();
    process.off("exit", this.#onExit);
  }

  async #build(): Promise<void> {
    await ip("netns", "add", this.#switch);
    await ip("-n", this.#switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
    await ip("-n", this.#switch, "link", "set", "br0", "up");
    for (const host of this.hosts) {
      await ip("netns", "add", host.namespace);
      await ip("-n", host.namespace, "link", "set", "lo", "up");
      await this.#plugIn(host);
    }
    await this.#apply();
  }

  async #plugIn(host: Host): Promise<void> {
    await ip("link", "add", host.interface, "netns", host.namespace, "type", "veth", "peer", "name", host.port, "netns", this.#switch);
    await ip("-n", this.#switch, "link", "set", host.port, "master", "br0", "up");
    await ip("-n", host.namespace, "address", "add", `${host.address}/24`, "broadcast", "+", "dev", host.interface);
    await ip("-n", host.namespace, "link", "set", host.interface, "up");
    await host.addMulticastRoute();
  }

  #fault(name: string, rules: string): Promise<void> {
    this.#faults.set(name, rules);
    return this.#apply();
  }

  /** All faults at once: nft replaces the whole table in one transaction. */
  async #apply(): Promise<void> {
    const rules = [...this.#faults.values()].flatMap((each) => each.split("; "));
    const table = ["add table bridge fault", "delete table bridge fault", "table bridge fault {", "chain forward {", "type filter hook forward priority 0; policy accept;", ...rules, "}", "}", ""].join("\n");
    await run("ip", ["netns", "exec", this.#switch, "nft", "-f", "-"], table);
  }

  /** Synchronous, because it is also the last thing that a dying test process does. */
  #removeNow(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const namespace of [...this.hosts.map((host) => host.namespace), this.#switch]) {
      try { execFileSync("ip", ["netns", "del", namespace], { stdio: "ignore" }); } catch { /* it was never made */ }
    }
  }
}
