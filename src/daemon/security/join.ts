/**
 * A joiner's side of Join. Two connections to a candidate: the first sends nothing and only looks at the certificates shown,
 * for the CA whose fingerprint is in the token; the second trusts that CA alone, with TLS's own full verification, and carries
 * the request. So an impostor learns that somebody wants to join, and nothing else: no secret, no proof it could use elsewhere.
 *
 * Candidates only cost time when they are wrong; they are tried in turn until one admits, or the time is up.
 */
import { X509Certificate, createHash } from "node:crypto";
import { type PeerCertificate, checkServerIdentity, connect } from "node:tls";
import grpc from "@grpc/grpc-js";
import { type Clock, sleep, systemClock } from "../../core/clock.js";
import { MinidError, toMinidError } from "../../core/errors.js";
import { channelOptions } from "../../core/proto.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import { anyMemberName } from "../../core/trust/peer.js";
import { type Cluster, Trust } from "../../core/trust/trust.js";
import { currentCluster, installMembership } from "../identity/cluster.js";
import { rememberPeers } from "../discovery/known-peers.js";
import { type Identity, ensureIdentity, newIdentity } from "../identity/identity.js";
import { createSigningRequest } from "./certificates.js";
import { decodeRecords } from "./exchange.js";
import { type AdmissionClient, type JoinReply, type JoinRequest, agentServices, joinProtocol } from "./rpc.js";
import { type JoinClaim, type JoinToken, admitProof, decodeToken, joinProof, sameProof, tokenIdOf, verifierOf } from "./token.js";

export const joinTimeoutDefaultMs = 20_000;
const lookTimeoutMs = 3_000;
const callTimeoutMs = 8_000;
const roundPauseMs = 500;
/** A token made a moment ago is not known to every member yet; a forged one to none. */
const refusedRoundsMax = 3;
const candidatesMax = 64;
const chainLengthMax = 4;
/** Certificates, records and peers of a full cluster. */
const replyBytesMax = 4 << 20;

export interface JoinOptions {
  /** This machine's name in the cluster. */
  readonly deviceId: string;
  /** Agents' addresses, host:port, asked for anew in every round: from mDNS, `devices`, `--peer`. The token's hints come first by themselves. */
  readonly candidates: () => Iterable<string>;
  /** Leave the cluster that the home is in, even to join it anew; without it, only one that was never shared with another machine is left. */
  readonly leave?: boolean;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

export interface Joined {
  readonly cluster: Cluster;
  /** False when the home was in the token's cluster already. */
  readonly changed: boolean;
  /** Agents' addresses to introduce oneself to, the one that admitted us first; also in `<home>/peers.json`, for the next start. */
  readonly peers: readonly string[];
}

/**
 * Makes the home a member of the token's cluster. A running agent of the home must be restarted after it.
 * @param line what `minid token` printed.
 * @throws MinidError join_refused | join_unreachable | join_limited | device_forgotten | home_unusable
 */
export async function joinCluster(home: string, line: string, options: JoinOptions): Promise<Joined> {
  const clock = options.clock ?? systemClock;
  const token = decodeToken(line);
  const current = await currentCluster(home);
  if (current?.clusterId === token.clusterId && !options.leave) return { cluster: current, changed: false, peers: token.hints };
  if (clock.wallMs() > token.expiresAtMs) throw new MinidError("join_refused", `the token expired at ${new Date(token.expiresAtMs).toISOString()} by this machine's clock: make a new one with \`minid token\`, or set the clock.`);
  if (current && !options.leave) await assertAlone(home, current);

  let identity = await ensureIdentity(home);
  const deadline = clock.now() + (options.timeoutMs ?? joinTimeoutDefaultMs);
  let failure: MinidError | undefined;
  let refusedRounds = 0;
  while (clock.now() < deadline && !options.signal?.aborted) {
    for (const address of candidatesOf(token, options)) {
      try {
        const reply = await askOne(address, token, identity, options.deviceId, clock);
        return await install(home, identity, reply, address);
      } catch (error) {
        const problem = toMinidError(error);
        if (problem.code === "device_forgotten") identity = await newIdentity();
        // What a member says weighs more than that some other address does not answer.
        if (failure === undefined || problem.code !== "join_unreachable") failure = problem;
        if (problem.code === "invalid_value" || problem.code === "home_unusable") throw problem;
      }
    }
    if (failure?.code === "join_refused") {
      refusedRounds += 1;
      if (failure.retryAfterSeconds === undefined || refusedRounds >= refusedRoundsMax) break;
    }
    const pauseMs = Math.max(roundPauseMs, (failure?.retryAfterSeconds ?? 0) * 1_000);
    await sleep(Math.min(pauseMs, Math.max(0, deadline - clock.now())), options.signal ? { signal: options.signal } : {});
  }
  throw failure ?? new MinidError("join_unreachable", "no member of the token's cluster was found: check that one is up and on this network, or name one with --peer HOST:PORT.");
}

function candidatesOf(token: JoinToken, options: JoinOptions): string[] {
  return [...new Set([...token.hints, ...options.candidates()])].slice(0, candidatesMax);
}

async function assertAlone(home: string, current: Cluster): Promise<void> {
  const trust = Trust.open(home);
  const others = trust.records.members().filter((member) => member.nodeId !== trust.nodeId);
  trust.close();
  if (others.length > 0) {
    throw new MinidError("join_refused", `this machine is in the cluster ${JSON.stringify(current.name)} with ${others.map((member) => member.deviceId).join(", ")}: leave it with \`minid join --leave TOKEN\`.`);
  }
}

async function askOne(address: string, token: JoinToken, identity: Identity, deviceId: string, clock: Clock): Promise<JoinReply> {
  const ca = await lookForCa(address, token.caSha256);
  const verifier = verifierOf(token.secret);
  const csr = await createSigningRequest(identity.key, identity.nodeId);
  let serverSha256 = "";
  const credentials = grpc.credentials.createSsl(Buffer.from(ca), null, null, {
    checkServerIdentity: (host: string, shown: PeerCertificate) => {
      serverSha256 = createHash("sha256").update(shown.raw).digest("hex");
      return checkServerIdentity(host, shown);
    },
  });
  const Client = agentServices().Admission;
  const client = new Client(address, credentials, { ...channelOptions, "grpc.max_receive_message_length": replyBytesMax, "grpc.ssl_target_name_override": anyMemberName(token.clusterId) }) as grpc.Client as AdmissionClient;
  try {
    await new Promise<void>((resolve, reject) => {
      client.waitForReady(Date.now() + lookTimeoutMs, (error) => { if (error) reject(unreachable(address, error.message)); else resolve(); });
    });
    const claim: JoinClaim = { serverSha256, nodeId: identity.nodeId, deviceId, csr };
    const request: JoinRequest = { protocol: joinProtocol, tokenId: tokenIdOf(token.secret), nodeId: identity.nodeId, deviceId, csr, proof: joinProof(verifier, claim) };
    const reply = await new Promise<JoinReply>((resolve, reject) => {
      client.join(request, { deadline: Date.now() + callTimeoutMs }, (error, answer) => {
        if (error) reject(fromServiceError(error, "join_unreachable"));
        else if (answer) resolve(answer);
      });
    });
    assertGenuine(reply, token, verifier, claim, ca, clock);
    return reply;
  } finally { client.close(); }
}

function assertGenuine(reply: JoinReply, token: JoinToken, verifier: string, claim: JoinClaim, ca: string, clock: Clock): void {
  const refuse = (why: string) => new MinidError("join_refused", `the answer to the join ${why}: something pretends to be a member; make a new token.`);
  if (!sameProof(admitProof(verifier, claim, reply.certificate, reply.ca), reply.proof)) throw refuse("does not prove that it knows the token");
  if (reply.clusterId !== token.clusterId || new X509Certificate(reply.ca).fingerprint256 !== new X509Certificate(ca).fingerprint256) throw refuse("is about another cluster");
  const certificate = new X509Certificate(reply.certificate);
  if (!certificate.verify(new X509Certificate(ca).publicKey) || Date.parse(certificate.validTo) < clock.wallMs()) throw refuse("holds a certificate that is not valid here (check this machine's clock)");
}

async function install(home: string, identity: Identity, reply: JoinReply, address: string): Promise<Joined> {
  const cluster = { clusterId: reply.clusterId, name: reply.clusterName };
  await installMembership(home, identity, { cluster, ca: { certificate: reply.ca, key: reply.caKey }, certificate: reply.certificate, records: decodeRecords(reply) });
  const peers = [address, ...reply.peers.slice(0, candidatesMax)];
  await rememberPeers(home, peers);
  return { cluster, changed: true, peers };
}

const unreachable = (address: string, why: string) => new MinidError("join_unreachable", `${address} cannot be reached (${why}): check that a member is up there and that its agent port is right.`);

/** The CA certificate (PEM) that a server shows, if it is the one with this fingerprint. Sends nothing, proves nothing by itself. */
function lookForCa(address: string, caSha256: string): Promise<string> {
  const [host, port] = splitAddress(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ["h2"], minVersion: "TLSv1.3", timeout: lookTimeoutMs });
    const end = (settle: () => void): void => { clearTimeout(late); socket.destroy(); settle(); };
    const late = setTimeout(() => { end(() => { reject(unreachable(address, "it does not answer")); }); }, lookTimeoutMs);
    socket.once("error", (error) => { end(() => { reject(unreachable(address, error.message)); }); });
    socket.once("secureConnect", () => {
      let certificate = socket.getPeerCertificate(true);
      for (let depth = 0; depth < chainLengthMax; depth += 1) {
        const { raw } = certificate;
        if (raw && createHash("sha256").update(raw).digest("hex") === caSha256) { end(() => { resolve(new X509Certificate(raw).toString()); }); return; }
        certificate = certificate.issuerCertificate;
        if (!certificate) break;
      }
      end(() => { reject(new MinidError("join_unreachable", `${address} is not a member of the token's cluster.`)); });
    });
  });
}

function splitAddress(address: string): [host: string, port: number] {
  const match = /^(?:\[(.+)\]|([^:]+)):(\d{1,5})$/u.exec(address);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65_535) throw new MinidError("join_unreachable", `${JSON.stringify(address)} is not HOST:PORT.`);
  return [match[1] ?? match[2] ?? "", port];
}
