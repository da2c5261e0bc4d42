/**
 * A member's side of Join: checks the token's proof, signs the joiner's key, and writes the records that make it a member.
 * Served to callers without a certificate, so everything in a request is hostile until the proof has been checked: sizes are
 * bounded, attempts are limited per source and together, and a refusal says no more than the asker's own token deserves.
 *
 * Order matters: the token's end and the membership are durable here before the certificate leaves. Asking again with the same
 * node id and key gives the same answer (a lost reply costs nothing), even for a token of `once`.
 */
import grpc from "@grpc/grpc-js";
import { z } from "zod";
import { type Clock, systemClock } from "../../core/clock.js";
import { MinidError, toMinidError } from "../../core/errors.js";
import { nodeId } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import type { MemberRecord, TokenRecord, TrustRecord } from "../../core/trust/records.js";
import type { Trust } from "../../core/trust/trust.js";
import { readCa } from "../identity/cluster.js";
import { fingerprintOf, signRequest } from "./certificates.js";
import { RateLimiter } from "./rate-limit.js";
import { type JoinReply, type JoinRequest, agentServices, joinProtocol, unary } from "./rpc.js";
import { admitProof, joinProof, sameProof } from "./token.js";

/** A Join request is about 600 bytes. */
const requestBytesMax = 16 << 10;
const joinsWaitingMax = 16;
/** How long a joiner waits for the other members to hear of it: it dials them next. */
const announceTimeoutMs = 1_000;

const requestSchema = z.object({
  tokenId: z.string().regex(/^[0-9a-f]{16}$/u, "16 hexadecimal digits"),
  nodeId: z.string().regex(/^[0-9a-f]{32}$/u, "32 hexadecimal digits").transform(nodeId),
  deviceId: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/u, "letters, digits, dot, dash and underscore, at most 63"),
  csr: z.instanceof(Buffer),
  proof: z.instanceof(Buffer).refine((proof) => proof.length === 32, "32 bytes"),
});

export interface AdmissionOptions {
  readonly trust: Trust;
  readonly log: Log;
  readonly clock?: Clock;
  readonly limiter?: RateLimiter;
  /** Agents' addresses, host:port, that the joiner may try next. */
  readonly peers?: () => readonly string[];
  /** Tells the other members of a new one; the reply waits for it, for `announceTimeoutMs` at most. */
  readonly onAdmitted?: (member: MemberRecord) => Promise<void> | void;
}

/** The server for callers without a certificate: Join, and for every other known rpc a refusal that says why. Hand it to `listenSecurely`. */
export function createAdmissionServer(options: AdmissionOptions): grpc.Server {
  const services = agentServices();
  const server = new grpc.Server({ "grpc.max_receive_message_length": requestBytesMax, "grpc.max_concurrent_streams": 2, "grpc.max_metadata_size": 8 << 10, "grpc.enable_channelz": 0 });
  const admission = new Admission(options);
  server.addService(services.Admission.service, {
    join: unary<JoinRequest, JoinReply>((call) => admission.join(call.request, sourceOf(call.getPeer()))),
  });
  for (const service of [services.Agent.service, services.TrustExchange.service]) server.addService(service, refusals(service));
  return server;
}

const sourceOf = (peer: string): string => peer.replace(/:\d+$/u, "");

function refusals(service: grpc.ServiceDefinition): grpc.UntypedServiceImplementation {
  const status = { code: grpc.status.UNAUTHENTICATED, details: "this call needs a certificate of the cluster: join first (`minid join TOKEN`)." };
  const refuse = (call: { readonly emit?: (event: "error", error: object) => boolean }, callback?: grpc.sendUnaryData<object>): void => {
    if (callback) callback(status);
    else call.emit?.("error", status);
  };
  return Object.fromEntries(Object.keys(service).map((name) => [name, refuse]));
}

export class Admission {
  readonly #trust: Trust;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #limiter: RateLimiter;
  readonly #peers: () => readonly string[];
  readonly #onAdmitted: (member: MemberRecord) => Promise<void> | void;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: AdmissionOptions) {
    this.#trust = options.trust;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.#limiter = options.limiter ?? new RateLimiter();
    this.#peers = options.peers ?? (() => []);
    this.#onAdmitted = options.onAdmitted ?? (() => undefined);
  }

  /**
   * @param source the caller's address, for limiting.
   * @throws MinidError join_limited | join_refused | device_forgotten | invalid_value
   */
  async join(request: JoinRequest, source: string): Promise<JoinReply> {
    const waitSeconds = this.#limiter.attempt(source, this.#clock.now());
    if (waitSeconds > 0 || this.#waiting >= joinsWaitingMax) {
      throw new MinidError("join_limited", `too many attempts to join: try again in ${Math.max(1, waitSeconds)} s.`, { retryAfterSeconds: Math.max(1, waitSeconds) });
    }
    // One after the other, so that a token of `once` lets in one.
    this.#waiting += 1;
    const turn = this.#last.then(() => this.#admit(request));
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } catch (error) {
      this.#log.warn({ source, code: toMinidError(error).code, reason: toMinidError(error).message }, "join refused");
      throw error;
    } finally { this.#waiting -= 1; }
  }

  async #admit(raw: JoinRequest): Promise<JoinReply> {
    if (raw.protocol !== joinProtocol) throw new MinidError("join_refused", `the joining machine speaks join protocol ${raw.protocol}, this member ${joinProtocol}: install the same version of minid on both.`);
    const parsed = requestSchema.safeParse(raw);
    if (!parsed.success) throw new MinidError("invalid_value", `${parsed.error.issues[0]?.path.join(".") ?? "request"}: ${parsed.error.issues[0]?.message ?? "invalid"}`);
    const request = parsed.data;
    // The token may have been made, or ended, a moment ago by a command in another process.
    this.#trust.refresh();
    const { records, cluster, material } = this.#trust;
    const claim = { serverSha256: fingerprintOf(material.certificate), nodeId: request.nodeId, deviceId: request.deviceId, csr: request.csr };
    const token = records.token(request.tokenId);
    // Another member may know it, and this one soon: worth another try.
    if (!token || !sameProof(joinProof(token.verifier, claim), request.proof)) throw new MinidError("join_refused", "this member does not know that token: make a new one with `minid token`.", { retryAfterSeconds: 1 });

    const ca = await readCa(this.#trust.home);
    const { certificate, keySha256 } = await signRequest(request.csr, { nodeId: request.nodeId, clusterId: cluster.clusterId }, ca, this.#clock.wallMs());
    this.#assertWelcome(token, request.nodeId, keySha256);

    const fresh: TrustRecord[] = [];
    const member: MemberRecord = { kind: "member", nodeId: request.nodeId, keySha256, deviceId: request.deviceId, by: this.#trust.nodeId, atMs: this.#clock.wallMs() };
    if (token.once) fresh.push({ kind: "token-end", tokenId: token.tokenId, reason: "used", usedBy: request.nodeId, expiresAtMs: token.expiresAtMs, by: this.#trust.nodeId, atMs: this.#clock.wallMs() });
    await this.#trust.add([...fresh, member]);
    await this.#announce(member);
    this.#log.info({ nodeId: request.nodeId, deviceId: request.deviceId, tokenId: token.tokenId }, "admitted");
    return {
      clusterId: cluster.clusterId,
      clusterName: cluster.name,
      certificate,
      ca: ca.certificate,
      caKey: ca.key,
      records: this.#trust.records.list().map((record) => JSON.stringify(record)),
      peers: this.#peers(),
      proof: admitProof(token.verifier, claim, certificate, ca.certificate),
    };
  }

  /** The asker holds the token's secret: from here on a refusal may say why. */
  #assertWelcome(token: TokenRecord, id: MemberRecord["nodeId"], keySha256: string): void {
    const { records } = this.#trust;
    if (records.isForgotten(id)) throw new MinidError("device_forgotten", `node ${id.slice(0, 8)} was removed from the cluster: it can only come back as a new machine.`);
    const known = records.members().some((member) => member.nodeId === id);
    if (known && !records.isMember(id, keySha256)) throw new MinidError("join_refused", `node ${id.slice(0, 8)} is a member with another key: forget it first with \`minid forget\`, or move identity.json and tls away to join as a new machine.`);
    const end = records.tokenEnd(token.tokenId);
    const mine = end?.reason === "used" && end.usedBy === id && known;
    if (end && !mine) throw new MinidError("join_refused", `the token was ${end.reason === "used" ? "already used (--once)" : "revoked"}: make a new one with \`minid token\`.`);
    if (this.#clock.wallMs() > token.expiresAtMs) throw new MinidError("join_refused", `the token expired at ${new Date(token.expiresAtMs).toISOString()}: make a new one with \`minid token\`.`);
    if (!known) records.assertRoomFor("member");
  }

  async #announce(member: MemberRecord): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, announceTimeoutMs); });
    try {
      await Promise.race([Promise.resolve(this.#onAdmitted(member)), late]);
    } catch (error) {
      this.#log.warn({ error: toMinidError(error).message }, "the other members could not be told of the new one; they hear of it by heartbeat");
    } finally { clearTimeout(timer); }
  }
}
