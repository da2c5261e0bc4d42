/**
 * Who may talk to whom, in one object: the credentials every gRPC server and client of a node uses. Mutual TLS under the
 * cluster's own CA, from the PEM files `<home>/tls/{ca.pem,node.pem,node.key}`; a connection is refused unless the peer's
 * certificate comes from that CA and, when dialling, carries the expected DNS name `<nodeId>.minid`.
 *
 * Renewal: the files are looked at again every few seconds and new connections use the new ones. A half-written set (key and
 * certificate that do not belong together) is not taken; the last good one stays.
 * Does not make certificates, and never falls back to plain text: that takes an explicit setting, for tests.
 */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { MinidError } from "./errors.js";
import { channelOptions } from "./proto.js";

const rereadIntervalMs = 2_000;

export interface Transport {
  readonly secure: boolean;
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
  serverCredentials: () => grpc.ServerCredentials.createInsecure(),
  channelCredentials: () => grpc.ChannelCredentials.createInsecure(),
  channelOptions: () => channelOptions,
  close: () => undefined,
});

interface Pems { readonly ca: Buffer; readonly certificate: Buffer; readonly privateKey: Buffer }

/**
 * @param options.insecure what `MINID_INSECURE=1` means; the caller reads the environment.
 * @param options.onProblem called when files have changed into something that cannot be used.
 * @throws MinidError home_unusable when the files are missing or do not belong together.
 */
export function loadTransport(home: string, options: { readonly insecure?: boolean; readonly onProblem?: (message: string) => void } = {}): Transport {
  if (options.insecure) return insecureTransport;
  const files = new PemFiles(join(home, "tls"), options.onProblem ?? (() => undefined));
  const server = grpc.experimental.createCertificateProviderServerCredentials(files, files, true);
  const channel = grpc.experimental.createCertificateProviderChannelCredentials(files, files);
  return {
    secure: true,
    serverCredentials: () => server,
    channelCredentials: () => channel,
    channelOptions: (name) => (name === "" ? channelOptions : { ...channelOptions, "grpc.ssl_target_name_override": name }),
    close: () => { files.close(); },
  };
}

/** The three files as grpc-js' certificate provider. */
class PemFiles implements grpc.experimental.CertificateProvider {
  readonly #directory: string;
  readonly #onProblem: (message: string) => void;
  readonly #caListeners = new Set<grpc.experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<grpc.experimental.IdentityCertificateUpdateListener>();
  readonly #timer: NodeJS.Timeout;
  #current: Pems;

  constructor(directory: string, onProblem: (message: string) => void) {
    this.#directory = directory;
    this.#onProblem = onProblem;
    this.#current = readPems(directory);
    this.#timer = setInterval(() => { this.#reread(); }, rereadIntervalMs);
    this.#timer.unref();
  }

  addCaCertificateListener(listener: grpc.experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    process.nextTick(() => { listener({ caCertificate: this.#current.ca }); });
  }
  removeCaCertificateListener(listener: grpc.experimental.CaCertificateUpdateListener): void { this.#caListeners.delete(listener); }

  addIdentityCertificateListener(listener: grpc.experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    process.nextTick(() => { listener(this.#current); });
  }
  removeIdentityCertificateListener(listener: grpc.experimental.IdentityCertificateUpdateListener): void { this.#identityListeners.delete(listener); }

  close(): void { clearInterval(this.#timer); }

  #reread(): void {
    let next: Pems;
    try { next = readPems(this.#directory); } catch (error) { this.#onProblem(error instanceof Error ? error.message : String(error)); return; }
    if (next.ca.equals(this.#current.ca) && next.certificate.equals(this.#current.certificate) && next.privateKey.equals(this.#current.privateKey)) return;
    this.#current = next;
    for (const listener of this.#identityListeners) listener(next);
    for (const listener of this.#caListeners) listener({ caCertificate: next.ca });
  }
}

function readPems(directory: string): Pems {
  const read = (name: string): Buffer => {
    try { return readFileSync(join(directory, name)); } catch (error) {
      throw new MinidError("home_unusable", `${join(directory, name)} cannot be read: this node has no certificate yet; its agent makes it when it founds or joins a cluster.`, { cause: error });
    }
  };
  const pems = { ca: read("ca.pem"), certificate: read("node.pem"), privateKey: read("node.key") };
  let fits: boolean;
  try {
    fits = new X509Certificate(pems.certificate).checkPrivateKey(createPrivateKey(pems.privateKey));
    void new X509Certificate(pems.ca).subject;
  } catch (error) {
    throw new MinidError("home_unusable", `${directory} holds a file that is not PEM (${error instanceof Error ? error.message : String(error)}): move the directory away and join again.`, { cause: error });
  }
  if (!fits) throw new MinidError("home_unusable", `${directory}: node.key does not belong to node.pem: move the directory away and join again.`);
  return pems;
}
