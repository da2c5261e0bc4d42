/**
 * One multicast DNS socket on one interface, through bonjour-service: announces this node, asks for others, hands up every
 * `_minid._tcp` record it hears, and answers for `minid.local` while told to. Its owner decides when it lives and dies.
 *
 * Works round what the library does not do: it hears every packet itself, because the library's browser reports neither a crash,
 * nor a restart with the same text, nor a changed address; it has an error handler everywhere, because the default ones throw; it
 * joins the group on the given interface but binds to all, because bound to the interface's address it is deaf.
 */
import Bonjour, { type ServiceConfig } from "bonjour-service";
import { type Announcement, type Introduction, fromTxt, toTxt } from "./introduction.js";

const serviceType = "minid";
const serviceDomain = `_${serviceType}._tcp.local`;
export const leaderName = "minid.local";
/** Seconds. Short: the name moves with rank 0. */
const leaderTtl = 10;
export const mdnsPort = 5_353;
const closeTimeoutMs = 500;

interface Question { readonly name: string; readonly type: string }
interface ResourceRecord { readonly name: string; readonly type: string; readonly ttl?: number; readonly flush?: boolean; readonly data?: unknown }
interface Packet { readonly id?: number; readonly questions?: readonly Question[]; readonly answers?: readonly ResourceRecord[]; readonly additionals?: readonly ResourceRecord[] }
interface Sender { readonly address: string; readonly port: number }

/** What multicast-dns gives us; it has no types of its own. */
interface MulticastDns {
  on(event: "query" | "response", listener: (packet: Packet, from: Sender) => void): void;
  on(event: "error" | "warning", listener: (error: Error) => void): void;
  on(event: "ready", listener: () => void): void;
  query(questions: readonly Question[]): void;
  respond(packet: Packet, to?: Sender): void;
}

export interface MulticastHandlers {
  /** `from` is the sender's address, which is this interface's own when we hear ourselves. */
  readonly onIntroduction: (introduction: Introduction, from: string) => void;
  /** The socket is of no use any more. Called at most once. */
  readonly onFailure: (error: Error) => void;
  /** A packet that could not be sent or understood: lost, like any other. */
  readonly onWarning: (error: Error) => void;
}

export class MulticastSocket {
  readonly #address: string;
  readonly #port: number;
  readonly #bonjour: Bonjour;
  readonly #mdns: MulticastDns;
  readonly #handlers: MulticastHandlers;
  #leader = false;
  #closed = false;

  /**
   * @param where the interface's IPv4 address; `port` is another than mDNS's own only in tests, to be alone on a machine.
   * @param self what to announce; undefined: only listen and ask.
   */
  constructor(where: { readonly address: string; readonly port: number }, self: Announcement | undefined, handlers: MulticastHandlers) {
    this.#address = where.address;
    this.#port = where.port;
    this.#handlers = handlers;
    const options: Partial<ServiceConfig> & { readonly interface: string; readonly bind: string } = { interface: where.address, bind: "0.0.0.0", port: where.port };
    this.#bonjour = new Bonjour(options, (error: Error) => { handlers.onWarning(error); });
    this.#mdns = this.#bonjour["server"].mdns as MulticastDns;
    this.#mdns.on("error", (error) => { this.#fail(error); });
    this.#mdns.on("warning", (error) => { handlers.onWarning(error); });
    this.#mdns.on("response", (packet, from) => { this.#hear(packet, from); });
    this.#mdns.on("query", (packet, from) => { this.#answerForLeader(packet, from); });
    if (self) {
      this.#bonjour.publish({
        name: self.nodeId,
        type: serviceType,
        port: self.grpcPort,
        // A name of our own: under the machine's, macOS takes us for a rival and renames the machine.
        host: `minid-${self.nodeId.slice(0, 12)}.local`,
        txt: toTxt(self),
        probe: false,
        disableIPv6: true,
      });
    }
  }

  query(): void {
    if (!this.#closed) this.#mdns.query([{ name: serviceDomain, type: "PTR" }]);
  }

  /** Whether this node is rank 0. Gaining it is announced, so that caches elsewhere follow; losing it is not: the successor announces. */
  setLeader(leader: boolean): void {
    const gained = leader && !this.#leader;
    this.#leader = leader;
    if (gained && !this.#closed) this.#mdns.respond({ answers: [this.#leaderRecord()] });
  }

  /** Says goodbye and closes. */
  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    return new Promise((resolve) => {
      // On an interface that is gone the goodbye is never confirmed.
      const late = setTimeout(() => { destroy(); }, closeTimeoutMs);
      let destroyed = false;
      const destroy = (): void => {
        if (destroyed) return;
        destroyed = true;
        clearTimeout(late);
        this.#bonjour.destroy(() => { resolve(); });
      };
      this.#bonjour.unpublishAll(destroy);
    });
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#bonjour.destroy();
    this.#handlers.onFailure(error);
  }

  #hear(packet: Packet, from: Sender): void {
    for (const record of [...(packet.answers ?? []), ...(packet.additionals ?? [])]) {
      // A goodbye has no time to live; heartbeats know better who is gone.
      if (record.type !== "TXT" || record.ttl === 0 || !record.name.toLowerCase().endsWith(`.${serviceDomain}`)) continue;
      const introduction = fromTxt(textsOf(record.data), from.address);
      if (introduction) this.#handlers.onIntroduction(introduction, from.address);
    }
  }

  #answerForLeader(packet: Packet, from: Sender): void {
    if (!this.#leader || this.#closed) return;
    const asked = packet.questions?.find((question) => question.name.toLowerCase() === leaderName && (question.type === "A" || question.type === "ANY"));
    if (!asked) return;
    // RFC 6762, 6.7: a resolver that does not speak mDNS itself asks from another port and wants its own answer, with its id.
    if (from.port === this.#port) this.#mdns.respond({ answers: [this.#leaderRecord()] });
    else this.#mdns.respond({ id: packet.id ?? 0, questions: [asked], answers: [{ ...this.#leaderRecord(), flush: false }] }, from);
  }

  #leaderRecord(): ResourceRecord {
    return { name: leaderName, type: "A", ttl: leaderTtl, flush: true, data: this.#address };
  }
}

function textsOf(data: unknown): string[] {
  const strings: readonly unknown[] = Array.isArray(data) ? data : [data];
  return strings.map((each) => (Buffer.isBuffer(each) ? each.toString("utf8") : String(each)));
}
