/**
 * All introductions of an agent in one stream: multicast DNS, the `devices` of the configuration, and the peers known from
 * before. They only say where somebody may be; who is alive, and who is who, others decide.
 */
import { type ConditionCode, conditionEntries } from "../../checks/conditions.js";
import { type Clock, Timers } from "../../core/clock.js";
import type { Millis, NodeId } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import type { Trust } from "../../core/trust/trust.js";
import type { ClusterView } from "../cluster/contract.js";
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
/** A member that is alive and is asked every 15 seconds has been heard by then, unless the network does not carry multicast. */
const unheardAfterMs = 60_000;

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

/** A member that is heard directly, and for how long it has been alive. */
export interface AliveMember { readonly nodeId: NodeId; readonly device: string; readonly aliveForMs: number }

export function aliveMembers({ members }: Pick<ClusterView, "members">, now: Millis): AliveMember[] {
  return members.filter((member) => !member.self && member.direct && member.state === "alive")
    .map(({ nodeId, facts, since }) => ({ nodeId, device: facts?.deviceId ?? nodeId.slice(0, 8), aliveForMs: now - since }));
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

  /** @param alive the other members. */
  conditions(alive: readonly AliveMember[]): ConditionStatus[] {
    const { clock } = this.#options;
    const mdns = this.mdnsStatus();
    if (!mdns || clock.now() - this.#startedAtMs < deafAfterMs) return [];
    if (mdns.interfaces.length === 0) {
      const why = mdns.problem === undefined ? "" : ` (${mdns.problem})`;
      return [this.#condition("mdns_no_interface", "warning", `multicast DNS has no interface to use${why}: other machines cannot find this one by themselves.`)];
    }
    const deaf = mdns.interfaces.filter((each) => each.heardSelfAgoMs === undefined || each.heardSelfAgoMs > deafAfterMs);
    if (deaf.length > 0) return deaf.map((each) => this.#condition("mdns_deaf", "warning", `this machine does not hear its own multicast on ${each.name} (${each.address}): machines there may not find it.`));
    const due = alive.filter(({ aliveForMs }) => Math.min(aliveForMs, clock.now() - this.#startedAtMs) > unheardAfterMs);
    const unheard = due.filter(({ nodeId }) => (this.#mdns?.heardAgoMs(nodeId) ?? Infinity) > unheardAfterMs);
    if (unheard.length === 0) return [];
    // One silent machine may have multicast switched off; silence of all is the network's.
    return [this.#condition("multicast_blocked", unheard.length === due.length ? "warning" : "info", `multicast DNS hears nothing of ${unheard.map(({ device }) => device).join(", ")}, though alive.`)];
  }

  #condition(code: ConditionCode, severity: "info" | "warning", message: string): ConditionStatus {
    return { code, severity, message, remedy: conditionEntries[code].remedy, device_id: this.#options.config.device_id };
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
