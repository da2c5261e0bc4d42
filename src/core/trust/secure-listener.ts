/**
 * A port where only the cluster's members get in. It ends TLS itself and hands each connection to the gRPC server it deserves:
 * a member's to the full server; one without any certificate to the admission server, which has nothing but Join; any other is
 * cut before a byte of HTTP/2. So what a stranger can call is decided by which server it reaches, not by a check in each handler.
 *
 * gRPC's own listener cannot do this: it either refuses every connection without a certificate or lets all of them reach all services.
 * A certificate that was renewed is used from the next connection on; a member that is forgotten loses its open connections at once,
 * and so does one whose certificate runs out.
 */
import { type Server as TlsServer, type TLSSocket, createServer } from "node:tls";
import grpc from "@grpc/grpc-js";
import { type Clock, systemClock } from "../clock.js";
import { MinidError } from "../errors.js";
import type { Millis, NodeId } from "../ids.js";
import type { Log } from "../log.js";
import { type Judgement, certificateOf, judgePeer } from "./peer.js";
import type { Trust } from "./trust.js";

const handshakeTimeoutMs = 5_000;
const connectionsMax = 512;
/** Connections of strangers at once, and how long each may take to join. */
const strangersMax = 16;
const strangerLifeMs = 15_000;
const sweepIntervalMs = 30_000;
const refusalLogIntervalMs = 10_000;
/** Forgotten machines that are remembered to have called. */
const forgottenCallersMax = 32;

export interface SecureListenerOptions {
  readonly trust: Trust;
  /** What members reach. It must not be bound to a port of its own. */
  readonly server: grpc.Server;
  /** What callers without a certificate reach; without it they are refused too. */
  readonly admission?: grpc.Server;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly log: Log;
  readonly clock?: Clock;
}

export type RefusalReason = Extract<Judgement, { kind: "refused" }>["reason"] | "no certificate" | "too many strangers" | "handshake";

export interface SecureListener {
  readonly port: number;
  /** Connections refused since the start, by reason: for status and metrics. */
  readonly refusals: ReadonlyMap<RefusalReason, number>;
  /** Machines that were forgotten and called all the same, by node id. */
  readonly forgottenCallers: ReadonlyMap<NodeId, { readonly address: string; readonly count: number; readonly at: Millis }>;
  /** Stops listening and cuts every connection. Drain the gRPC servers first. */
  close(): Promise<void>;
}

/** @throws MinidError port_in_use */
export async function listenSecurely(options: SecureListenerOptions): Promise<SecureListener> {
  const { trust, log } = options;
  const clock = options.clock ?? systemClock;
  const members = options.server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const strangers = options.admission?.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const open = new Set<TLSSocket>();
  let strangersOpen = 0;
  const refusals = new Map<RefusalReason, number>();
  const forgottenCallers = new Map<NodeId, { readonly address: string; readonly count: number; readonly at: Millis }>();
  let refusalLoggedAtMs = -Infinity;

  const refuse = (reason: RefusalReason, socket: TLSSocket | undefined, address: string | undefined): void => {
    refusals.set(reason, (refusals.get(reason) ?? 0) + 1);
    if (clock.now() - refusalLoggedAtMs > refusalLogIntervalMs) {
      refusalLoggedAtMs = clock.now();
      log.warn({ reason, address, refusals: Object.fromEntries(refusals) }, "connection refused");
    }
    socket?.destroy();
  };

  const noteForgotten = (nodeId: NodeId, address: string): void => {
    const before = forgottenCallers.get(nodeId);
    if (!before && forgottenCallers.size >= forgottenCallersMax) return;
    forgottenCallers.set(nodeId, { address, count: (before?.count ?? 0) + 1, at: clock.now() });
  };

  const judge = (socket: TLSSocket): Judgement => judgePeer(certificateOf(socket), socket.authorized, trust.records, clock.wallMs());

  const admit = (socket: TLSSocket): void => {
    const address = socket.remoteAddress;
    // A peer that resets mid-way must not take the process down; the connection's owner sees `close`.
    socket.on("error", (error) => { log.debug({ address, error: error.message }, "connection failed"); });
    let judgement = judge(socket);
    if (judgement.kind === "refused" && judgement.reason === "unknown") { trust.refreshForUnknown(); judgement = judge(socket); }
    switch (judgement.kind) {
      case "refused":
        if (judgement.reason === "forgotten" && judgement.nodeId !== undefined) noteForgotten(judgement.nodeId, address ?? "");
        refuse(judgement.reason, socket, address);
        return;
      case "member":
        open.add(socket);
        socket.once("close", () => { open.delete(socket); });
        members.injectConnection(socket);
        return;
      case "stranger": {
        if (!strangers) { refuse("no certificate", socket, address); return; }
        if (strangersOpen >= strangersMax) { refuse("too many strangers", socket, address); return; }
        strangersOpen += 1;
        const life = setTimeout(() => { socket.destroy(); }, strangerLifeMs);
        socket.once("close", () => { clearTimeout(life); strangersOpen -= 1; });
        strangers.injectConnection(socket);
      }
    }
  };

  const context = () => ({ ca: trust.material.ca, cert: trust.material.certificate, key: trust.material.privateKey, minVersion: "TLSv1.3" as const });
  const server = createServer({ ...context(), requestCert: true, rejectUnauthorized: false, ALPNProtocols: ["h2"], handshakeTimeout: handshakeTimeoutMs }, admit);
  server.maxConnections = connectionsMax;
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
    // Somebody looked and left: a joiner that checks whose port this is, a port scan, a health check.
    if (error.code === "ECONNRESET") log.debug({ address: socket.remoteAddress }, "connection ended in its handshake");
    else refuse("handshake", undefined, socket.remoteAddress);
  });
  const raw = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => { raw.add(socket); socket.once("close", () => { raw.delete(socket); }); });

  const sweep = (): void => {
    for (const socket of open) {
      const judgement = judge(socket);
      if (judgement.kind === "refused") refuse(judgement.reason, socket, socket.remoteAddress);
    }
  };
  const unsubscribe = trust.onChange((change) => {
    if (change === "records") sweep();
    else server.setSecureContext(context());
  });
  const port = await listen(server, options.host, options.port).catch((error: unknown) => { unsubscribe(); throw error; });
  const sweeper = setInterval(sweep, sweepIntervalMs);
  sweeper.unref();

  return {
    port,
    refusals,
    forgottenCallers,
    close: () => new Promise((resolve) => {
      unsubscribe();
      clearInterval(sweeper);
      server.close(() => { resolve(); });
      for (const socket of raw) socket.destroy();
    }),
  };
}

function listen(server: TlsServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? new MinidError("port_in_use", `${host}:${port} is in use: stop the program that listens there, or configure another agent_port or worker_port.`, { cause: error })
        : new MinidError("port_in_use", `cannot listen on ${host}:${port} (${error.code ?? error.message}): check the host and port.`, { cause: error }));
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : port);
    });
  });
}
