/**
 * Carries cluster messages between agents: one long-lived `Deliver` stream to each peer that is talked to. Fire and forget: a
 * message that cannot leave at once is dropped, because the core repeats whatever matters. Links unused for a while are closed.
 */
import grpc from "@grpc/grpc-js";
import { dialTarget } from "../../core/dial.js";
import type { NodeId } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import { type Transport, peerName } from "../../core/transport.js";
import { agentServices } from "../security/rpc.js";
import type { Destination } from "./contract.js";
import { type ClusterMessage, MESSAGE_BYTES_MAX } from "./messages.js";
import type { Bulletin } from "../telemetry/bulletin.js";

/** Messages that may wait in one stream; the next one is dropped. */
const PENDING_MAX = 16;
/**
 * A connection not made within this is begun anew. While a machine is cut off, the operating system asks for it ever more seldom;
 * beginning anew asks at once, so that a link is back within two seconds of the network.
 */
const CONNECT_MS = 5_000;
/** A link that nothing was sent on for this long is closed. */
const IDLE_MS = 60_000;

export interface ClusterEnvelope { readonly json: Buffer; readonly trustDigest: string }
type DeliverCall = grpc.ClientWritableStream<ClusterEnvelope>;
interface RawAgentClient extends grpc.Client {
  deliver(callback: (error: grpc.ServiceError | null) => void): DeliverCall;
}

export class PeerLinks {
  readonly #links = new Map<string, PeerLink>();
  readonly #transport: Transport;
  readonly #Client: grpc.ServiceClientConstructor;
  readonly #anyMember: string;
  readonly #trustDigest: () => string;
  readonly #onRefused: (node: NodeId) => void;
  readonly #log: Log;

  /**
   * @param options.anyMember the DNS name that every member's certificate carries: for addresses whose node id is not known yet.
   * @param options.trustDigest of this node's trust records, told with every message.
   * @param options.onRefused a peer's machine is there and nobody listens on its agent's port.
   */
  constructor(options: { readonly transport: Transport; readonly anyMember: string; readonly trustDigest: () => string; readonly onRefused: (node: NodeId) => void; readonly log: Log }) {
    this.#transport = options.transport;
    this.#anyMember = options.anyMember;
    this.#trustDigest = options.trustDigest;
    this.#onRefused = options.onRefused;
    this.#log = options.log;
    this.#Client = agentServices().Agent;
  }

  send(to: Destination, message: ClusterMessage | Bulletin): void {
    const json = Buffer.from(JSON.stringify(message));
    if (json.length > MESSAGE_BYTES_MAX) { this.#log.error({ bytes: json.length, type: message.type }, "a cluster message is too large to send"); return; }
    const key = to.nodeId ?? to.addresses[0];
    if (key === undefined || to.addresses.length === 0) return;
    let link = this.#links.get(key);
    if (!link) {
      const { nodeId } = to;
      const onRefused = () => { if (nodeId !== undefined) this.#onRefused(nodeId); };
      link = new PeerLink(this.#Client, this.#transport, nodeId === undefined ? this.#anyMember : peerName(nodeId), onRefused);
      this.#links.set(key, link);
    }
    link.send({ json, trustDigest: this.#trustDigest() }, to.addresses);
    this.#closeIdle();
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #closeIdle(): void {
    const now = performance.now();
    for (const [key, link] of this.#links) {
      if (now - link.usedAt < IDLE_MS) continue;
      link.close();
      this.#links.delete(key);
    }
  }
}

/** One peer: its channel and its stream. */
class PeerLink {
  readonly #Client: grpc.ServiceClientConstructor;
  readonly #transport: Transport;
  readonly #name: string;
  readonly #onRefused: () => void;
  #target = "";
  #client: RawAgentClient | undefined;
  #call: DeliverCall | undefined;
  #calledAt = 0;
  #pending = 0;
  usedAt = performance.now();

  constructor(client: grpc.ServiceClientConstructor, transport: Transport, name: string, onRefused: () => void) {
    this.#Client = client;
    this.#transport = transport;
    this.#name = name;
    this.#onRefused = onRefused;
  }

  send(envelope: ClusterEnvelope, addresses: readonly string[]): void {
    this.usedAt = performance.now();
    const target = dialTarget(addresses);
    if (this.#call && this.#isPointless(this.#call, target, addresses)) this.#disconnect();
    const call = this.#call ?? this.#connect(target);
    if (this.#pending >= PENDING_MAX) return;
    this.#pending += 1;
    call.write(envelope, () => { this.#pending -= 1; });
  }

  close(): void { this.#disconnect(); }

  /** The peer moved away from where the stream leads, or the stream leads nowhere yet. */
  #isPointless(call: DeliverCall, target: string, addresses: readonly string[]): boolean {
    if (this.#client?.getChannel().getConnectivityState(false) !== grpc.connectivityState.READY) return target !== this.#target || this.usedAt - this.#calledAt > CONNECT_MS;
    return target !== this.#target && !addresses.includes(call.getPeer());
  }

  #connect(target: string): DeliverCall {
    if (!this.#client || target !== this.#target) {
      this.#client?.close();
      this.#target = target;
      this.#client = new this.#Client(target, this.#transport.channelCredentials(), this.#transport.channelOptions(this.#name)) as grpc.Client as RawAgentClient;
    }
    this.#pending = 0;
    this.#calledAt = this.usedAt;
    const call = this.#client.deliver((error) => {
      if (this.#call !== call) return;
      this.#call = undefined;
      // gRPC has no other word for it than the system's own in its text.
      if (error?.details.includes("ECONNREFUSED")) this.#onRefused();
    });
    // The callback above tells; without a listener the stream's own error would end the process.
    call.on("error", () => undefined);
    this.#call = call;
    return call;
  }

  #disconnect(): void {
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
    this.#client?.close();
    this.#client = undefined;
  }
}
