/** Drives multicast DNS: executes `MdnsPolicy` over the machine's interfaces, once a second. Introduces, and decides nothing about who is alive. */
import { type Clock, systemClock } from "../../core/clock.js";
import type { Millis, NodeId } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import { usableInterfaces } from "./interfaces.js";
import { type Announcement, type Introduction, IntroductionBook } from "./introduction.js";
import { type InterfaceAddress, type MdnsEffect, MdnsPolicy, type MdnsTimes } from "./mdns-policy.js";
import { MulticastSocket, mdnsPort } from "./multicast.js";

const tickIntervalMs = 1_000;
/** Nodes remembered to have been heard. */
const heardMax = 256;

export interface MdnsOptions {
  /** Undefined: only look for others. */
  readonly self?: Announcement | undefined;
  /** The one IPv4 address to use. */
  readonly interface?: string | undefined;
  readonly onIntroduction: (introduction: Introduction) => void;
  readonly log: Log;
  readonly clock?: Clock;
  readonly times?: MdnsTimes;
  readonly interfaces?: () => InterfaceAddress[];
  /** Default: mDNS's own. */
  readonly port?: number;
}

export interface MdnsStatus {
  readonly interfaces: readonly { readonly name: string; readonly address: string; readonly heardSelfAgoMs: number | undefined }[];
  /** How often a socket was opened for another reason than the start: deafness, wake, an interface's return. */
  readonly rebuilds: number;
  readonly problem: string | undefined;
}

export class Mdns {
  readonly #options: MdnsOptions;
  readonly #clock: Clock;
  readonly #policy: MdnsPolicy;
  readonly #book = new IntroductionBook();
  readonly #sockets = new Map<string, MulticastSocket>();
  readonly #closing = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  readonly #heard = new Map<NodeId, Millis>();
  #leader = false;
  #opened = 0;
  #rebuilds = 0;
  #problem: string | undefined;

  constructor(options: MdnsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#policy = new MdnsPolicy({ announces: options.self !== undefined, ...(options.times ? { times: options.times } : {}) });
    this.#timer = setInterval(() => { this.#tick(); }, tickIntervalMs);
    this.#tick();
  }

  /** Whether this node answers for `minid.local`. */
  setLeader(leader: boolean): void {
    this.#leader = leader;
    for (const socket of this.#sockets.values()) socket.setLeader(leader);
  }

  status(): MdnsStatus {
    const interfaces = this.#policy.view(this.#clock.now()).map(({ interface: { name, address }, heardSelfAgoMs }) => ({ name, address, heardSelfAgoMs }));
    return { interfaces, rebuilds: this.#rebuilds, problem: this.#problem };
  }

  /** How long ago a node was heard by multicast; undefined: never. */
  heardAgoMs(node: NodeId): number | undefined {
    const at = this.#heard.get(node);
    return at === undefined ? undefined : this.#clock.now() - at;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const address of this.#sockets.keys()) this.#close(address);
    await Promise.all(this.#closing);
  }

  #tick(): void {
    const interfaces = (this.#options.interfaces ?? (() => usableInterfaces(this.#options.interface)))();
    this.#do(this.#policy.tick(this.#clock.now(), this.#clock.wallMs(), interfaces));
  }

  #do(effects: readonly MdnsEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "open": this.#open(effect.interface, effect.why); break;
        case "close": this.#close(effect.address); break;
        case "query": this.#sockets.get(effect.address)?.query(); break;
      }
    }
  }

  #open(each: InterfaceAddress, why: string): void {
    const { log, self } = this.#options;
    const { address } = each;
    if (this.#opened >= 1 && why !== "the interface appeared") this.#rebuilds += 1;
    this.#opened += 1;
    log.info({ interface: each.name, address, why }, "multicast DNS opened");
    const socket = new MulticastSocket({ address, port: this.#options.port ?? mdnsPort }, self, {
      onIntroduction: (introduction, from) => { this.#hear(introduction, from, self?.nodeId); },
      onFailure: (error) => {
        this.#problem = `${each.name} (${address}): ${error.message}`;
        log.warn({ interface: each.name, address, error: error.message }, "multicast DNS failed");
        this.#sockets.delete(address);
        this.#do(this.#policy.failed(address, this.#clock.now()));
      },
      onWarning: (error) => { log.debug({ interface: each.name, address, error: error.message }, "multicast DNS packet lost"); },
    });
    this.#sockets.set(address, socket);
    socket.setLeader(this.#leader);
  }

  #close(address: string): void {
    const socket = this.#sockets.get(address);
    if (!socket) return;
    this.#sockets.delete(address);
    const closing = socket.close();
    this.#closing.add(closing);
    void closing.finally(() => { this.#closing.delete(closing); });
  }

  #hear(introduction: Introduction, from: string, self: NodeId | undefined): void {
    const now = this.#clock.now();
    if (introduction.nodeId !== undefined && introduction.nodeId === self) { this.#policy.heardSelf(from, now); return; }
    if (introduction.nodeId !== undefined && (this.#heard.has(introduction.nodeId) || this.#heard.size < heardMax)) this.#heard.set(introduction.nodeId, now);
    if (this.#book.offer(introduction, now)) this.#options.onIntroduction(introduction);
  }
}
