/**
 * All introductions of an agent in one stream: multicast DNS, the `devices` of the configuration, and the peers known from
 * before. They only say where somebody may be; who is alive, and who is who, others decide.
 */
import { type Clock, Timers } from "../../core/clock.js";
import type { Log } from "../../core/log.js";
import type { Trust } from "../../core/trust/trust.js";
import type { Config } from "../config/table.js";
import type { ConditionStatus } from "../status.js";
import { type Announcement, type Introduction, IntroductionBook } from "./introduction.js";
import { readKnownPeers } from "./known-peers.js";
import { usableInterfaces } from "./interfaces.js";
import { Mdns, type MdnsStatus } from "./mdns.js";
import { testMulticast } from "./self-test.js";

/** Addresses that do not announce themselves are offered again so often; the book thins it out. */
const repeatIntervalMs = 10_000;
/** A socket may be this old before its silence is called a condition: it hears itself within seconds when it can. */
const deafAfterMs = 20_000;

export interface IntroducerOptions {
  readonly config: Pick<Config, "device_id" | "devices" | "mdns" | "mdns_interface" | "http_port" | "agent_port">;
  readonly trust: Trust;
  readonly version: string;
  /** Of this start. Asked when introductions start. */
  readonly incarnation: () => number | string;
  readonly onIntroduction: (introduction: Introduction) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export class Introducer {
  readonly #options: IntroducerOptions;
  readonly #timers: Timers;
  readonly #book = new IntroductionBook();
  #mdns: Mdns | undefined;
  #startedAtMs = 0;
  #leader = false;
  #silent: Introduction[] = [];
  #selfTest: Promise<void> = Promise.resolve();

  constructor(options: IntroducerOptions) {
    this.#options = options;
    this.#timers = new Timers((name, error) => { options.log.error({ timer: name, error: String(error) }, "introductions failed"); });
  }

  async start(): Promise<void> {
    const { config, trust, clock, log, onIntroduction } = this.#options;
    const known = await readKnownPeers(trust.home);
    this.#silent = [
      ...config.devices.filter((device) => device.device_id !== config.device_id).map((device): Introduction => ({ source: "config", address: `${device.hostname}:${device.agent_port}` })),
      ...known.map((address): Introduction => ({ source: "join", address })),
    ];
    this.#startedAtMs = clock.now();
    this.#offer();
    this.#timers.every("introductions", repeatIntervalMs, () => { this.#offer(); });
    if (!config.mdns) return;
    this.#mdns = new Mdns({ self: this.#announcement(), interface: config.mdns_interface, onIntroduction, log, clock });
    this.#mdns.setLeader(this.#leader);
    this.#selfTest = this.#testSelf();
  }

  /** Whether this node answers for `minid.local`: only rank 0 does. */
  announceLeader(leader: boolean): void {
    this.#leader = leader;
    this.#mdns?.setLeader(leader);
  }

  /** Undefined when multicast DNS is switched off or not started. */
  mdnsStatus(): MdnsStatus | undefined { return this.#mdns?.status(); }

  conditions(): ConditionStatus[] {
    const { clock, config } = this.#options;
    const mdns = this.mdnsStatus();
    if (!mdns || clock.now() - this.#startedAtMs < deafAfterMs) return [];
    const condition = (code: string, message: string, remedy: string): ConditionStatus => ({ code, severity: "warning", message, remedy, device_id: config.device_id });
    if (mdns.interfaces.length === 0) {
      const why = mdns.problem === undefined ? "" : ` (${mdns.problem})`;
      return [condition("mdns_no_interface", `multicast DNS has no interface to use${why}: other machines cannot find this one by themselves.`, "Connect the machine to the network, correct mdns_interface, or name the machines in `devices`.")];
    }
    const deaf = mdns.interfaces.filter((each) => each.heardSelfAgoMs === undefined || each.heardSelfAgoMs > deafAfterMs);
    return deaf.map((each) => condition("mdns_deaf", `this machine does not hear its own multicast on ${each.name} (${each.address}): machines there may not find it.`,
      `Allow UDP port 5353 in the firewall; on a Mac run minid as installed by \`minid install\` (Local Network privacy silences other programs), or name the machines in \`devices\`.`));
  }

  async stop(): Promise<void> {
    this.#timers.stop();
    await this.#mdns?.stop();
    await this.#selfTest;
  }

  /** Once, at the start, for the log: whoever looks there for why machines do not meet finds it. */
  async #testSelf(): Promise<void> {
    const { config, log } = this.#options;
    for (const { interface: { name, address }, heard, problem } of await testMulticast({ interfaces: usableInterfaces(config.mdns_interface) })) {
      if (!heard) log.warn({ interface: name, address, problem }, "this machine does not hear its own multicast here");
    }
  }

  #announcement(): Announcement {
    const { config, trust, version, incarnation } = this.#options;
    return { nodeId: trust.nodeId, clusterId: trust.cluster.clusterId, clusterName: trust.cluster.name, incarnation: String(incarnation()), version, httpPort: config.http_port, grpcPort: config.agent_port };
  }

  #offer(): void {
    const { clock, onIntroduction } = this.#options;
    for (const introduction of this.#silent) if (this.#book.offer(introduction, clock.now())) onIntroduction(introduction);
  }
}
