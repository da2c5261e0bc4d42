/**
 * What one machine sees of another when it knocks at its ports (`daemon/doctor/look.ts`). TLS is part of the look: an address that
 * several machines share (a bridge of containers), or a port that another program has, must not pass for the member.
 */
export type Reach =
  /** It is the member, and it takes us for one. */
  | "answers"
  /** It is the member, but it ends the connection when it sees our certificate. */
  | "refused_us"
  /** It is the member, and the certificate that it shows has expired. */
  | "expired"
  /** Something listens that is not this member. */
  | "stranger"
  /** The system takes the connection, the program behind it does nothing. */
  | "hung"
  /** The machine is there, and nobody listens. */
  | "closed"
  /** No answer at all. */
  | "silent"
  /** This machine's own system says that there is no way. */
  | "unroutable";

export interface PortLook { readonly port: number; readonly reach: Reach }

export interface LinkLook {
  readonly from: string;
  readonly to: string;
  /** The address that answered best. */
  readonly host: string;
  readonly agent: PortLook;
  /** Undefined: its port is not known. */
  readonly worker: PortLook | undefined;
  /** Undefined: there is no `ping` here. */
  readonly pings: boolean | undefined;
  /** The quickest of several connections. */
  readonly rttMs: number | undefined;
  /** The quickest of several transfers to the other agent. */
  readonly bytesPerSecond: number | undefined;
  /** The same from this machine to itself: a machine that is slow with itself says nothing of its links. Undefined: not measured. */
  readonly selfRttMs: number | undefined;
  readonly selfBytesPerSecond: number | undefined;
  /** `darwin` looks differently at its own firewall. */
  readonly platform: string;
}

/** One machine as seen by one other. */
export interface PeerLook {
  readonly link: LinkLook;
  /** It answered the agents' question with its own findings. */
  readonly reported: boolean;
  /** Why it gave none, when it was asked and said so. */
  readonly refusal: string | undefined;
  /** It said goodbye before it went. */
  readonly left: boolean;
}
