/** Members and strangers of a cluster without the rest of an agent: a home, its trust, and one port with TrustExchange behind it and Admission beside it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { channelOptions } from "../../src/core/proto.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { type Transport, loadTransport, peerName } from "../../src/core/transport.js";
import { callerOf } from "../../src/core/trust/peer.js";
import type { SecureListener } from "../../src/core/trust/secure-listener.js";
import type { Trust } from "../../src/core/trust/trust.js";
import { foundCluster } from "../../src/daemon/identity/cluster.js";
import { createAdmissionServer } from "../../src/daemon/security/admission.js";
import { exchangeTrust, serveTrustExchange } from "../../src/daemon/security/exchange.js";
import type { RateLimiter } from "../../src/daemon/security/rate-limit.js";
import { type AdmissionClient, type TrustExchangeClient, agentServices } from "../../src/daemon/security/rpc.js";

export const host = "127.0.0.1";

/** Temporary homes and started members, all ended and removed by `clean()`. */
export class Lab {
  readonly #undo: (() => Promise<void>)[] = [];

  async home(): Promise<string> {
    const home = await mkdtemp(join(tmpdir(), "minid-home-"));
    this.#undo.push(() => rm(home, { recursive: true, force: true }));
    return home;
  }

  async founder(name = "lab", deviceId = "founder"): Promise<string> {
    const home = await this.home();
    await foundCluster(home, { name, deviceId });
    return home;
  }

  async member(home: string, options: { readonly log?: Log; readonly limiter?: RateLimiter; readonly onAdmitted?: () => Promise<void>; readonly peers?: () => string[] } = {}): Promise<Member> {
    const member = await Member.start(home, options);
    this.#undo.push(() => member.stop());
    return member;
  }

  onClean(undo: () => Promise<void> | void): void { this.#undo.push(async () => { await undo(); }); }

  async clean(): Promise<void> {
    for (const undo of this.#undo.splice(0).toReversed()) await undo();
  }
}

export class Member {
  readonly home: string;
  readonly transport: Transport;
  readonly trust: Trust;
  readonly listener: SecureListener;
  /** Node ids of the callers that reached the members' server. */
  readonly callers: string[];
  readonly #servers: readonly grpc.Server[];

  private constructor(home: string, transport: Transport, trust: Trust, listener: SecureListener, callers: string[], servers: readonly grpc.Server[]) {
    this.home = home;
    this.transport = transport;
    this.trust = trust;
    this.listener = listener;
    this.callers = callers;
    this.#servers = servers;
  }

  static async start(home: string, options: { readonly log?: Log; readonly limiter?: RateLimiter; readonly onAdmitted?: () => Promise<void>; readonly peers?: () => string[] }): Promise<Member> {
    const transport = loadTransport(home);
    const { trust } = transport;
    if (!trust) throw new Error("an insecure transport has no trust");
    const callers: string[] = [];
    const server = new grpc.Server({
      interceptors: [(_method, call) => {
        callers.push(callerOf(call) ?? "nobody");
        return new grpc.ServerInterceptingCall(call);
      }],
    });
    serveTrustExchange(server, trust);
    const log = options.log ?? silentLog;
    const admission = createAdmissionServer({ trust, ...options, log });
    const listener = await transport.listen(server, { host, port: 0, admission, log });
    return new Member(home, transport, trust, listener, callers, [server, admission]);
  }

  get address(): string { return `${host}:${this.listener.port}`; }

  /** Exchanges trust with another member: the call that these tests use for "may talk to". */
  exchangeWith(other: Member): Promise<boolean> {
    return exchangeTrust(other.address, this.transport.channelCredentials(), this.transport.channelOptions(peerName(other.trust.nodeId)), this.trust);
  }

  async stop(): Promise<void> {
    this.transport.close();
    for (const server of this.#servers) server.forceShutdown();
    await this.listener.close();
  }
}

/** Calls a member with whatever credentials. Resolves with the gRPC status code of the answer; UNAVAILABLE when the connection is refused. */
export async function statusOf(call: "join" | "exchange" | "generate", address: string, credentials: grpc.ChannelCredentials, targetName: string): Promise<grpc.status> {
  const services = agentServices();
  const options = { ...channelOptions, "grpc.ssl_target_name_override": targetName, "grpc.enable_retries": 0 };
  const deadline = { deadline: Date.now() + 3_000 };
  const Client = { join: services.Admission, exchange: services.TrustExchange, generate: services.Agent }[call];
  const client: grpc.Client = new Client(address, credentials, options);
  try {
    return await new Promise<grpc.status>((resolve) => {
      const done = (error: grpc.ServiceError | null) => { resolve(error?.code ?? grpc.status.OK); };
      if (call === "join") (client as AdmissionClient).join({ protocol: 1, tokenId: "00".repeat(8), nodeId: "00".repeat(16), deviceId: "x", csr: Buffer.alloc(1), proof: Buffer.alloc(32) }, deadline, done);
      else if (call === "exchange") (client as TrustExchangeClient).exchange({ records: [] }, deadline, done);
      else {
        const stream = client.makeServerStreamRequest("/minid.agent.v1.Agent/Generate", () => Buffer.alloc(0), (bytes: Buffer) => bytes, {}, deadline);
        stream.on("error", done);
        stream.on("data", () => undefined);
        stream.on("status", (status: grpc.StatusObject) => { resolve(status.code); });
      }
    });
  } finally { client.close(); }
}
