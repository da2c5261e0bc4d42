/**
 * Who may talk to whom, in one object: how every gRPC server of a node listens and every client of it dials. Mutual TLS under
 * the cluster's own CA, and the cluster's membership records on top (trust/): a connection is refused unless the peer's
 * certificate comes from that CA, belongs to a member that was admitted and not forgotten, and, when dialling, carries the
 * expected DNS name `<nodeId>.minid`. Renewed certificates and new records are taken up as they appear in the home.
 *
 * Does not make certificates, and never falls back to plain text: that takes an explicit setting, for tests.
 */
import { type AddressInfo, createServer } from "node:net";
import grpc from "@grpc/grpc-js";
import { MinidError } from "./errors.js";
import { type Log, silentLog } from "./log.js";
import { channelOptions } from "./proto.js";
import { TrustProvider, memberChannelCredentials, membersOnly } from "./trust/credentials.js";
import { type SecureListener, listenSecurely } from "./trust/secure-listener.js";
import { Trust } from "./trust/trust.js";

export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly log?: Log;
  /** What callers without a certificate reach (daemon/security/admission.ts); without it they are refused. */
  readonly admission?: grpc.Server;
}

export interface Transport {
  readonly secure: boolean;
  /** Undefined over the insecure transport. */
  readonly trust: Trust | undefined;
  /**
   * Opens a port for the server, which must not be bound elsewhere. Better than binding with `serverCredentials`: what is no
   * member loses its connection instead of being refused call by call.
   * @throws MinidError port_in_use
   */
  listen(server: grpc.Server, options: ListenOptions): Promise<SecureListener>;
  serverCredentials(): grpc.ServerCredentials;
  channelCredentials(): grpc.ChannelCredentials;
  /** Options for a client that dials the node whose certificate carries `peerName` (`<nodeId>.minid`). */
  channelOptions(peerName: string): grpc.ChannelOptions;
  /** Stops looking at the files. */
  close(): void;
}

/** The DNS name in a node's certificate. */
export const peerName = (nodeId: string): string => `${nodeId}.minid`;

/** For tests and one-machine experiments only: no secrecy, no identity. */
export const insecureTransport: Transport = Object.freeze({
  secure: false,
  trust: undefined,
  listen: listenInsecurely,
  serverCredentials: () => grpc.ServerCredentials.createInsecure(),
  channelCredentials: () => grpc.ChannelCredentials.createInsecure(),
  channelOptions: () => channelOptions,
  close: () => undefined,
});

/**
 * @param options.insecure what `MINID_INSECURE=1` means; the caller reads the environment.
 * @param options.onProblem called when files have changed into something that cannot be used; the last good state stays.
 * @throws MinidError no_cluster when the home is in no cluster yet; home_unusable when its files are damaged.
 */
export function loadTransport(home: string, options: { readonly insecure?: boolean; readonly onProblem?: (message: string) => void } = {}): Transport {
  if (options.insecure) return insecureTransport;
  return trustedTransport(Trust.open(home, options.onProblem ? { onProblem: options.onProblem } : {}));
}

/** Over a trust that is open; `close()` closes it. */
export function trustedTransport(trust: Trust): Transport {
  const provider = new TrustProvider(trust);
  const server = grpc.experimental.createServerCredentialsWithInterceptors(grpc.experimental.createCertificateProviderServerCredentials(provider, provider, true), [membersOnly(trust)]);
  const channel = memberChannelCredentials(trust);
  return {
    secure: true,
    trust,
    listen: (target, { log = silentLog, ...where }) => listenSecurely({ trust, server: target, log, ...where }),
    serverCredentials: () => server,
    channelCredentials: () => channel,
    channelOptions: (name) => (name === "" ? channelOptions : { ...channelOptions, "grpc.ssl_target_name_override": name }),
    close: () => { trust.close(); },
  };
}

/** By a listener of its own, as `listenSecurely`: gRPC's remembers a port that was taken, and a second attempt fails of the first one's error. */
async function listenInsecurely(server: grpc.Server, { host, port }: ListenOptions): Promise<SecureListener> {
  let members: ReturnType<grpc.Server["createConnectionInjector"]> | undefined;
  const listener = createServer({ noDelay: true }, (socket) => {
    members ??= server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
    members.injectConnection(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", (error) => { reject(new MinidError("port_in_use", `cannot listen on ${host}:${port}: ${error.message}`, { cause: error })); });
    listener.listen(port, host, resolve);
  });
  const { port: bound } = listener.address() as AddressInfo;
  return { port: bound, refusals: new Map(), forgottenCallers: new Map(), close: () => { server.forceShutdown(); listener.close(); return Promise.resolve(); } };
}
