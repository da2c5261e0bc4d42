/**
 * When to open, close, rebuild and query multicast sockets: one for each IPv4 interface. Pure: the driver looks at interfaces
 * and clocks and does as told.
 *
 * Why rebuilding is a policy at all: a socket's group membership is lost without any error when its interface goes down and
 * comes back with the same address, and after sleep. Only hearing oneself proves that it still works. A service that is browsed
 * once is never asked for again by the library, so queries have a cadence: fast while machines start together, then slow.
 */
import type { Millis } from "../../core/ids.js";

export interface InterfaceAddress {
  readonly name: string;
  /** IPv4. */
  readonly address: string;
  /** Loopback: the nodes of one machine find each other there even when it has no network. */
  readonly internal: boolean;
}

export interface MdnsTimes {
  readonly queryFastIntervalMs: number;
  readonly queryFastForMs: number;
  readonly querySlowIntervalMs: number;
  /** Not hearing oneself for this long means that the socket is deaf. */
  readonly selfHearingMs: number;
  /** A tick that comes this much late means that the machine slept. */
  readonly sleptMs: number;
  readonly reopenAfterMs: number;
}

export const mdnsTimes: MdnsTimes = {
  queryFastIntervalMs: 1_000,
  queryFastForMs: 10_000,
  querySlowIntervalMs: 15_000,
  selfHearingMs: 60_000,
  sleptMs: 5_000,
  reopenAfterMs: 10_000,
};

const interfacesMax = 8;

export type MdnsEffect =
  | { readonly kind: "open"; readonly interface: InterfaceAddress; readonly why: string }
  | { readonly kind: "close"; readonly address: string }
  | { readonly kind: "query"; readonly address: string };

interface Socket {
  readonly interface: InterfaceAddress;
  readonly openedAtMs: Millis;
  heardSelfAtMs: Millis | undefined;
  queriedAtMs: Millis | undefined;
}

export class MdnsPolicy {
  readonly #times: MdnsTimes;
  readonly #announces: boolean;
  readonly #sockets = new Map<string, Socket>();
  readonly #failedAt = new Map<string, Millis>();
  #tickedAt: { readonly now: Millis; readonly wallMs: number } | undefined;

  /** @param announces whether this node answers for itself, and so can hear itself. */
  constructor(options: { readonly announces: boolean; readonly times?: MdnsTimes }) {
    this.#announces = options.announces;
    this.#times = options.times ?? mdnsTimes;
  }

  /** About once a second. */
  tick(now: Millis, wallMs: number, interfaces: readonly InterfaceAddress[]): MdnsEffect[] {
    const last = this.#tickedAt;
    this.#tickedAt = { now, wallMs };
    // The monotonic clock may stand still in sleep, the wall clock may be set: either one jumping is reason enough, and harmless.
    const slept = last !== undefined && Math.max(now - last.now, wallMs - last.wallMs) > this.#times.sleptMs;
    const effects: MdnsEffect[] = [];
    const wanted = new Map(interfaces.slice(0, interfacesMax).map((each) => [each.address, each]));
    // Of this moment: rebuilding removes and adds sockets.
    const sockets = [...this.#sockets.values()];
    for (const socket of sockets) {
      const { address } = socket.interface;
      if (wanted.get(address)?.name !== socket.interface.name) effects.push(this.#close(address));
      else if (slept) effects.push(...this.#rebuild(socket, now, "the machine slept"));
      else if (this.#isDeaf(socket, now)) effects.push(...this.#rebuild(socket, now, "it did not hear itself"));
    }
    for (const [address, each] of wanted) {
      if (!this.#sockets.has(address) && now - (this.#failedAt.get(address) ?? -Infinity) >= this.#times.reopenAfterMs) effects.push(this.#open(each, now, "the interface appeared"));
    }
    for (const [address, socket] of this.#sockets) {
      if (!this.#isQueryDue(socket, now)) continue;
      socket.queriedAtMs = now;
      effects.push({ kind: "query", address });
    }
    return effects;
  }

  /** @param address of the interface that our own announcement came from. */
  heardSelf(address: string, now: Millis): void {
    const socket = this.#sockets.get(address);
    if (socket) socket.heardSelfAtMs = now;
  }

  /** The socket could not be opened, or broke. @returns what is left to do. */
  failed(address: string, now: Millis): MdnsEffect[] {
    this.#failedAt.set(address, now);
    return this.#sockets.has(address) ? [this.#close(address)] : [];
  }

  /** For status: the sockets and how long ago each heard itself (undefined: never). */
  view(now: Millis): { readonly interface: InterfaceAddress; readonly heardSelfAgoMs: number | undefined }[] {
    return [...this.#sockets.values()].map((socket) => ({ interface: socket.interface, heardSelfAgoMs: socket.heardSelfAtMs === undefined ? undefined : now - socket.heardSelfAtMs }));
  }

  #isDeaf(socket: Socket, now: Millis): boolean {
    return this.#announces && now - (socket.heardSelfAtMs ?? socket.openedAtMs) > this.#times.selfHearingMs;
  }

  #isQueryDue(socket: Socket, now: Millis): boolean {
    const intervalMs = now - socket.openedAtMs < this.#times.queryFastForMs ? this.#times.queryFastIntervalMs : this.#times.querySlowIntervalMs;
    return socket.queriedAtMs === undefined || now - socket.queriedAtMs >= intervalMs;
  }

  #rebuild(socket: Socket, now: Millis, why: string): MdnsEffect[] {
    return [this.#close(socket.interface.address), this.#open(socket.interface, now, why)];
  }

  #open(each: InterfaceAddress, now: Millis, why: string): MdnsEffect {
    this.#failedAt.delete(each.address);
    this.#sockets.set(each.address, { interface: each, openedAtMs: now, heardSelfAtMs: undefined, queriedAtMs: undefined });
    return { kind: "open", interface: each, why };
  }

  #close(address: string): MdnsEffect {
    this.#sockets.delete(address);
    return { kind: "close", address };
  }
}
