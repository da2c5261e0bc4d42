/**
 * Keeps this node's trust in step with the others': exchanges records with a member that has other ones, tells the cluster of
 * machines that were forgotten, and renews the certificate.
 */
import type grpc from "@grpc/grpc-js";
import { type Clock, Timers } from "../core/clock.js";
import { toMinidError } from "../core/errors.js";
import type { NodeId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import { type Transport, peerName } from "../core/transport.js";
import type { Trust } from "../core/trust/trust.js";
import { exchangeTrust } from "./security/exchange.js";
import { keepRenewed } from "./security/renewer.js";

/** Between two exchanges with one member. */
const exchangeIntervalMs = 1_000;

export interface TrustKeeperDeps {
  readonly home: string;
  readonly trust: Trust;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  /** A member's agent, host:port; undefined while it is not known. */
  readonly addressOf: (node: NodeId) => string | undefined;
  readonly onForgotten: (node: NodeId) => void;
  /** The home was moved to another cluster, or took another identity: this process must start again. */
  readonly onReplaced: () => void;
}

export class TrustKeeper {
  readonly #deps: TrustKeeperDeps;
  readonly #timers: Timers;
  readonly #exchangedAt = new Map<NodeId, number>();
  readonly #told = new Set<NodeId>();
  readonly #unsubscribe: () => void;

  constructor(deps: TrustKeeperDeps) {
    this.#deps = deps;
    this.#timers = new Timers((name, error) => deps.log.error({ timer: name, error: String(error) }, "a timer failed"));
    this.#unsubscribe = deps.trust.onChange((change) => {
      if (change === "cluster") deps.onReplaced();
      if (change === "records") this.#tellForgotten();
    });
  }

  start(): void {
    keepRenewed(this.#deps.home, this.#deps.trust.cluster, this.#timers, this.#deps.log, this.#deps.clock);
    this.#tellForgotten();
  }

  stop(): void {
    this.#timers.stop();
    this.#unsubscribe();
  }

  /** A member told the digest of its records. */
  seen(node: NodeId, digest: string): void {
    const { trust, clock, addressOf } = this.#deps;
    if (digest === trust.digest) return;
    const now = clock.now();
    if (now - (this.#exchangedAt.get(node) ?? -Infinity) < exchangeIntervalMs) return;
    const address = addressOf(node);
    if (address === undefined) return;
    this.#exchangedAt.set(node, now);
    void this.exchange(node, address);
  }

  /** Never rejects: heartbeats bring the next chance. */
  async exchange(node: NodeId, address: string): Promise<void> {
    const { transport, trust, log } = this.#deps;
    const credentials: grpc.ChannelCredentials = transport.channelCredentials();
    try {
      await exchangeTrust(address, credentials, transport.channelOptions(peerName(node)), trust);
    } catch (error) {
      log.debug({ node, address, reason: toMinidError(error).message }, "trust records could not be exchanged");
    }
  }

  #tellForgotten(): void {
    for (const node of this.#deps.trust.records.forgottenIds()) {
      if (this.#told.has(node)) continue;
      this.#told.add(node);
      this.#deps.onForgotten(node);
    }
  }
}
