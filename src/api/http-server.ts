/**
 * The socket side of the front door: HTTP or HTTPS with every bound that Node knows, written down in one place.
 *
 * Invariants: no connection, request, header or pause is unbounded; what passes a bound costs its sender the connection.
 * Framing is Node's strict parser's affair (`insecureHTTPParser` is off): a request whose length can be read in two ways is refused.
 */
import { type IncomingMessage, type Server, type ServerOptions, type ServerResponse, createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Socket } from "node:net";
import { isLoopback } from "./access/caller.js";

export interface HttpLimits {
  /** Bound on the arrival of a request, headers and body; the headers alone have `headersTimeoutMs`. */
  readonly receiveTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** How long a connection may be idle between two requests. */
  readonly keepAliveTimeoutMs: number;
  /** All headers of a request together, with its first line. */
  readonly headerBytesMax: number;
  readonly connectionsMax: number;
}

/** What TLS shows: PEM. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface TlsSource {
  readonly files: TlsFiles;
  /** Called with each later pair. @returns ends the subscription. */
  onChange(listener: (files: TlsFiles) => void): () => void;
}

const headersMax = 100;
/** After so many requests a connection is closed with the last answer. */
const requestsPerConnectionMax = 100_000;
/** How often Node looks for connections that are too slow. */
const sweepIntervalMs = 2_000;
const handshakeTimeoutMs = 10_000;
/** Of all connections, what one address from elsewhere may hold: one stranger does not shut out the others. */
const shareOfOneAddress = 0.5;

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export function createFrontServer(handler: Handler, limits: HttpLimits, tls: TlsSource | undefined): Server {
  const options: ServerOptions = {
    requestTimeout: limits.receiveTimeoutMs,
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.receiveTimeoutMs),
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(sweepIntervalMs, limits.headersTimeoutMs),
    maxHeaderSize: limits.headerBytesMax,
    insecureHTTPParser: false,
    requireHostHeader: true,
  };
  const server = tls ? secured(options, handler, tls) : createHttpServer(options, handler);
  server.maxHeadersCount = headersMax;
  server.maxRequestsPerSocket = requestsPerConnectionMax;
  server.maxConnections = limits.connectionsMax;
  boundEachAddress(server, Math.ceil(limits.connectionsMax * shareOfOneAddress));
  return server;
}

function secured(options: ServerOptions, handler: Handler, tls: TlsSource): Server {
  const server = createHttpsServer({ ...options, ...tls.files, minVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"], handshakeTimeout: handshakeTimeoutMs }, handler);
  // Connections that are open keep what they began with.
  const unsubscribe = tls.onChange((files) => { server.setSecureContext({ ...files, minVersion: "TLSv1.2" }); });
  server.once("close", unsubscribe);
  // Plain HTTP on this port, a port scan, a client that does not trust the certificate: nothing to say to it.
  server.on("tlsClientError", (_error, socket) => { socket.destroy(); });
  return server;
}

function boundEachAddress(server: Server, max: number): void {
  const open = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || isLoopback(address)) return;
    const count = (open.get(address) ?? 0) + 1;
    if (count > max) { socket.destroy(); return; }
    open.set(address, count);
    socket.once("close", () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left > 0) open.set(address, left); else open.delete(address);
    });
  });
}
