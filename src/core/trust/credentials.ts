/**
 * gRPC credentials out of a trust. A member's side of a connection it makes: its own certificate, the cluster's CA, and the trust records. A server that was
 * forgotten is refused like one with a foreign certificate. A renewed certificate is used from the next connection on.
 */
import { X509Certificate } from "node:crypto";
import { type PeerCertificate, checkServerIdentity } from "node:tls";
import grpc from "@grpc/grpc-js";
import { type Clock, systemClock } from "../clock.js";
import { judgePeer } from "./peer.js";
import type { Trust } from "./trust.js";

/** One for all channels of a process. Dial with the option `grpc.ssl_target_name_override` = `<nodeId>.minid`. */
export function memberChannelCredentials(trust: Trust, clock: Clock = systemClock): grpc.ChannelCredentials {
  const provider = new TrustProvider(trust);
  return grpc.experimental.createCertificateProviderChannelCredentials(provider, provider, {
    checkServerIdentity: (host: string, shown: PeerCertificate): Error | undefined => {
      const wrongName = checkServerIdentity(host, shown);
      if (wrongName) return wrongName;
      const certificate = new X509Certificate(shown.raw);
      const judge = () => judgePeer(certificate, true, trust.records, clock.wallMs());
      let judgement = judge();
      if (judgement.kind === "refused" && judgement.reason === "unknown") { trust.refreshForUnknown(); judgement = judge(); }
      return judgement.kind === "member" ? undefined : new Error(`the certificate of ${host} is ${judgement.kind === "refused" ? judgement.reason : "missing"}`);
    },
  });
}

/** For servers bound by gRPC itself, where TLS alone decides who connects: refuses every call of what is no member any more. */
export function membersOnly(trust: Trust, clock: Clock = systemClock): grpc.ServerInterceptor {
  return (_method, call) => new grpc.ServerInterceptingCall(call, {
    start: (next) => {
      next({
        onReceiveMetadata: (metadata, proceed) => {
          const raw = call.getAuthContext().sslPeerCertificate?.raw;
          const judge = () => judgePeer(raw ? new X509Certificate(raw) : undefined, true, trust.records, clock.wallMs());
          let judgement = judge();
          if (judgement.kind === "refused" && judgement.reason === "unknown") { trust.refreshForUnknown(); judgement = judge(); }
          if (judgement.kind === "member") proceed(metadata);
          else call.sendStatus({ code: grpc.status.UNAUTHENTICATED, details: `the caller's certificate is ${judgement.kind === "refused" ? judgement.reason : "missing"}` });
        },
      });
    },
  });
}

/** The trust's TLS material as what grpc-js calls a certificate provider. */
export class TrustProvider implements grpc.experimental.CertificateProvider {
  readonly #trust: Trust;
  readonly #ca = new Set<grpc.experimental.CaCertificateUpdateListener>();
  readonly #identity = new Set<grpc.experimental.IdentityCertificateUpdateListener>();

  constructor(trust: Trust) {
    this.#trust = trust;
    trust.onChange((change) => {
      if (change !== "material") return;
      for (const listener of this.#ca) listener({ caCertificate: trust.material.ca });
      for (const listener of this.#identity) listener(trust.material);
    });
  }

  addCaCertificateListener(listener: grpc.experimental.CaCertificateUpdateListener): void {
    this.#ca.add(listener);
    process.nextTick(() => { listener({ caCertificate: this.#trust.material.ca }); });
  }
  removeCaCertificateListener(listener: grpc.experimental.CaCertificateUpdateListener): void { this.#ca.delete(listener); }

  addIdentityCertificateListener(listener: grpc.experimental.IdentityCertificateUpdateListener): void {
    this.#identity.add(listener);
    process.nextTick(() => { listener(this.#trust.material); });
  }
  removeIdentityCertificateListener(listener: grpc.experimental.IdentityCertificateUpdateListener): void { this.#identity.delete(listener); }
}
