/** Whoever might call on a node's ports: credentials made from the files of a home, good and bad, and what a call with them brings. */
import { readFile } from "node:fs/promises";
import { connect } from "node:tls";
import grpc from "@grpc/grpc-js";
import { channelOptions } from "../../src/core/proto.js";
import { nodeId } from "../../src/core/ids.js";
import { homeFiles } from "../../src/core/trust/trust.js";
import { workerService } from "../../src/core/worker-client.js";
import { readCa } from "../../src/daemon/identity/cluster.js";
import { createKey, createSigningRequest, signRequest } from "../../src/daemon/security/certificates.js";
import { agentServices } from "../../src/daemon/security/rpc.js";

const callTimeoutMs = 10_000;

const pathsOf = (service: grpc.ServiceClientConstructor): string[] => Object.values(service.service).map((method) => method.path);
const health = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

const { Agent, Admission, TrustExchange } = agentServices();

export const joinPath = "/minid.agent.v1.Admission/Join";
export const agentRpcs: readonly string[] = [Agent, Admission, TrustExchange].flatMap(pathsOf);
/** Every rpc that some port of a node knows, and one that none does. */
export const everyRpc: readonly string[] = [...agentRpcs, ...pathsOf(workerService()), ...health, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];

export interface Brought {
  readonly status: grpc.status;
  /** Payload of all messages that came back. */
  readonly messages: number;
}

/** Calls with one empty message, whatever the kind of the rpc: on the wire they are all the same. Unanswered until the deadline counts as DEADLINE_EXCEEDED. */
export async function call(address: string, path: string, credentials: grpc.ChannelCredentials, targetName: string, timeoutMs = callTimeoutMs): Promise<Brought> {
  const client = new grpc.Client(address, credentials, { ...channelOptions, "grpc.ssl_target_name_override": targetName, "grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1 });
  try {
    return await new Promise((resolve) => {
      let messages = 0;
      const stream = client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, (bytes: Buffer) => bytes, { deadline: Date.now() + timeoutMs });
      stream.on("data", () => { messages += 1; });
      stream.on("error", () => undefined);
      stream.on("status", (status: grpc.StatusObject) => { resolve({ status: status.code, messages }); });
      stream.write(Buffer.alloc(0));
      stream.end();
    });
  } finally { client.close(); }
}

/** Bytes that a port sends to who opens TLS without a certificate and begins HTTP/2, until it hangs up. */
export function bytesShown(port: number): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => { socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); });
    socket.on("data", (data: Buffer) => { bytes += data.length; });
    socket.on("error", () => undefined);
    socket.on("close", () => { resolve(bytes); });
  });
}

/** The credentials that a home holds, now: a member's, or a former one's. */
export async function credentialsIn(home: string): Promise<grpc.ChannelCredentials> {
  const files = homeFiles(home);
  return grpc.credentials.createSsl(await readFile(files.ca), await readFile(files.key), await readFile(files.certificate));
}

/** Trusts the cluster's CA and shows no certificate. */
export async function bareCredentials(home: string): Promise<grpc.ChannelCredentials> { return grpc.credentials.createSsl(await readFile(homeFiles(home).ca)); }

/** The member's own key under a certificate that ran out. */
export async function expiredCredentials(home: string, ids: { readonly nodeId: string; readonly clusterId: string }): Promise<grpc.ChannelCredentials> {
  const files = homeFiles(home);
  return signed(home, await readFile(files.key, "utf8"), ids, Date.now() - 60 * 24 * 3_600_000);
}

/** A new key that somebody who has the CA's key signed, for a node that exists: what a former member can make. */
export async function forgedCredentials(home: string, ids: { readonly nodeId: string; readonly clusterId: string }): Promise<grpc.ChannelCredentials> {
  return signed(home, await createKey(), ids, Date.now());
}

async function signed(home: string, key: string, ids: { readonly nodeId: string; readonly clusterId: string }, nowMs: number): Promise<grpc.ChannelCredentials> {
  const subject = { nodeId: nodeId(ids.nodeId), clusterId: ids.clusterId };
  const { certificate } = await signRequest(await createSigningRequest(key, subject.nodeId), subject, await readCa(home), nowMs);
  return grpc.credentials.createSsl(await readFile(homeFiles(home).ca), Buffer.from(key), Buffer.from(certificate));
}
