/**
 * All introductions of an agent in one stream: multicast DNS, the `devices` of the configuration, and the peers known from
 * before. They only say where somebody may be; who is alive, and who is who, others decide.
 */
import { type Clock, Timers, systemClock } from "../../core/clock.js";
import { millis } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import type { Device } from "../config/table.js";
import { type Announcement, type Introduction, IntroductionBook } from "./introduction.js";
import { readKnownPeers } from "./known-peers.js";
import { Mdns, type MdnsStatus } from "./mdns.js";

/** Addresses that do not announce themselves are offered again so often; the book thins it out. */
const repeatIntervalMs = 10_000;

export interface DiscoveryOptions {
  readonly home: string;
  readonly deviceId: string;
  readonly self: Announcement;
  /** Of the configuration: this machine's own entry is left out. */
  readonly devices: readonly Device[];
  readonly mdns: boolean;
  readonly mdnsInterface?: string | undefined;
  readonly onIntroduction: (introduction: Introduction) => void;
  readonly log: Log;
  readonly clock?: Clock;
}

export interface Discovery {
  /** Whether this node answers for `minid.local`: only rank 0 does. */
  announceLeader(leader: boolean): void;
  /** Undefined when multicast DNS is switched off. */
  mdnsStatus(): MdnsStatus | undefined;
  stop(): Promise<void>;
}

export async function startDiscovery(options: DiscoveryOptions): Promise<Discovery> {
  const { log, onIntroduction } = options;
  const clock = options.clock ?? systemClock;
  const configured = options.devices.filter((device) => device.device_id !== options.deviceId).map((device): Introduction => ({ source: "config", address: `${device.hostname}:${device.agent_port}` }));
  const known = (await readKnownPeers(options.home)).map((address): Introduction => ({ source: "join", address }));
  const book = new IntroductionBook();
  const offer = (): void => {
    for (const introduction of [...configured, ...known]) if (book.offer(introduction, millis(clock.now()))) onIntroduction(introduction);
  };
  const timers = new Timers((name, error) => { log.error({ timer: name, error: String(error) }, "discovery failed"); });
  const mdns = options.mdns ? new Mdns({ self: options.self, interface: options.mdnsInterface, onIntroduction, log, clock }) : undefined;
  offer();
  timers.every("introductions", repeatIntervalMs, offer);
  return {
    announceLeader: (leader) => { mdns?.setLeader(leader); },
    mdnsStatus: () => mdns?.status(),
    stop: async () => {
      timers.stop();
      await mdns?.stop();
    },
  };
}
