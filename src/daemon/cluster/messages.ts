/**
 * What agents tell each other. Plain JSON-able data; the driver ships each in one envelope over mutual TLS and vouches for
 * the sender (`from` of the input is the certificate's node id, never a field of the message).
 * Every message names its cluster and the protocol range of its sender; other clusters' messages are ignored.
 * All may be lost, doubled, delayed or reordered: (incarnation, seq) orders what one sender said, and everything is repeated until known to have arrived.
 */
import type { Epoch, NodeId } from "../../core/ids.js";
import type { NodeFacts, ProtocolRange } from "../membership/facts.js";
import type { MemberRow } from "../membership/member.js";
import type { Plan } from "../planner/plan.js";

interface Envelope {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly protocol: ProtocolRange;
  /** The sender's incarnation and its message counter within it. */
  readonly incarnation: number;
  readonly seq: number;
}


export interface Heartbeat extends Envelope {
  readonly type: "heartbeat";
  /** Wall clock of the sender, Unix milliseconds: only to warn of clocks that disagree. */
  readonly wallMs: number;
  /** The term that the sender leads. */
  readonly leads?: Epoch;
  /** The plan that the sender holds. */
  readonly plan?: { readonly epoch: Epoch; readonly version: number };
  /** Left out once the receiver is known to hold this version. */
  readonly facts?: NodeFacts;
  readonly factsVersion: number;
  /** Every other member that the sender knows. */
  readonly rows: readonly MemberRow[];
  /** Facts of third members that the receiver is known to lack. */
  readonly relayed?: readonly { readonly id: NodeId; readonly incarnation: number; readonly facts: NodeFacts }[];
  /** Nodes removed for good by a person. */
  readonly forgotten: readonly NodeId[];
}

/** Any holder of a newer plan passes it on to whoever is known to lack it. */
export interface PlanMessage extends Envelope {
  readonly type: "plan";
  readonly plan: Plan;
}

/** Answer at once: the sender begins to doubt that you are there. */
export interface ProbeMessage extends Envelope {
  readonly type: "probe";
  /** The node that wants to know: the sender itself, or the one it asks for. */
  readonly origin: NodeId;
}

/** The answer to a probe, to its sender. `leads` as in the heartbeat. */
export interface ProbeAck extends Envelope {
  readonly type: "probe-ack";
  readonly origin: NodeId;
  /** Incarnation and `seq` of the probe. */
  readonly echoIncarnation: number;
  readonly echo: number;
  readonly leads?: Epoch;
}

/** Please probe `target` for me: I cannot reach it. */
export interface ProbeRequest extends Envelope {
  readonly type: "probe-request";
  readonly target: NodeId;
}

/** `target` answered me just now. */
export interface ProbeReport extends Envelope {
  readonly type: "probe-report";
  readonly row: MemberRow;
}

/** The sender stops, on purpose, now. Not repeated: who misses it finds out by the detector. */
export interface LeaveMessage extends Envelope { readonly type: "leave" }

export type ClusterMessage = Heartbeat | PlanMessage | ProbeMessage | ProbeAck | ProbeRequest | ProbeReport | LeaveMessage;

/**
 * The protocol of this source tree; a node still speaks the version before, so that a cluster can be upgraded one machine at a time.
 * Not 1, however, whose frames do not say to which run they belong: a ring of both would compute nothing.
 */
export const PROTOCOL: ProtocolRange = Object.freeze({ min: 2, max: 2 });
/** Most machines that a cluster may know, dead ones included. */
export const MEMBERS_MAX = 64;
/** Most forgotten ids kept and told; the oldest are dropped (their certificates are still refused). */
export const FORGOTTEN_MAX = 64;
/** An encoded message larger than this is a bug of the sender and is refused by drivers, in bytes. */
export const MESSAGE_BYTES_MAX = 256 * 1024;
