/** Knocks at one port of another machine as a member would, and says what answered (`checks/link-facts.ts`). */
import { X509Certificate } from "node:crypto";
import { createSocket } from "node:dgram";
import { execFile } from "node:child_process";
import { type Socket, connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import type { Reach } from "../../checks/link-facts.js";
import { peerName } from "../../core/transport.js";
import { nodeIdOf } from "../../core/trust/peer.js";
import type { TlsMaterial } from "../../core/trust/trust.js";

const run = promisify(execFile);
const connectTimeoutMs = 2_500;
/** A busy agent's handshake; a halted one's never comes. */
const handshakeTimeoutMs = 5_000;
/** A member's server speaks first (HTTP/2 SETTINGS); one that refuses us hangs up. */
const firstWordTimeoutMs = 1_500;
/** Where nothing listens on any machine that we know of: a machine that is there says so by ICMP. */
const unusedUdpPort = 33_434;

export interface Knock { readonly reach: Reach; readonly connectMs: number | undefined }

/** Never rejects. @param nodeId whose certificate is expected there. */
export async function knock(host: string, port: number, nodeId: string, material: TlsMaterial): Promise<Knock> {
  const startedAt = performance.now();
  const opened = await open(host, port);
  if (typeof opened === "string") return { reach: opened, connectMs: undefined };
  const connectMs = performance.now() - startedAt;
  try {
    return { reach: await greet(opened, nodeId, material), connectMs };
  } finally { opened.destroy(); }
}

function open(host: string, port: number): Promise<Socket | Reach> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const late = setTimeout(() => { socket.destroy(); resolve("silent"); }, connectTimeoutMs);
    socket.once("connect", () => { clearTimeout(late); socket.removeAllListeners("error"); socket.on("error", () => undefined); resolve(socket); });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(late);
      // A packet dropped by this machine's own filter can surface as EPERM.
      resolve(error.code === "ECONNREFUSED" ? "closed" : error.code === "ETIMEDOUT" || error.code === "EPERM" ? "silent" : error.code === "ECONNRESET" ? "stranger" : "unroutable");
    });
  });
}

function greet(socket: Socket, nodeId: string, { ca, certificate, privateKey }: TlsMaterial): Promise<Reach> {
  return new Promise((resolve) => {
    const tls = connectTls({ socket, ca, cert: certificate, key: privateKey, servername: peerName(nodeId), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
    let timer = setTimeout(() => { end("hung"); }, handshakeTimeoutMs);
    const end = (reach: Reach): void => {
      clearTimeout(timer);
      tls.removeAllListeners();
      tls.on("error", () => undefined);
      tls.destroy();
      resolve(reach);
    };
    tls.once("error", () => { end("stranger"); });
    tls.once("close", () => { end("stranger"); });
    tls.once("secureConnect", () => {
      const raw = tls.getPeerCertificate().raw as Buffer | undefined;
      if (raw === undefined || nodeIdOf(new X509Certificate(raw)) !== nodeId) { end("stranger"); return; }
      if (!tls.authorized) { end(String(tls.authorizationError).includes("CERT_HAS_EXPIRED") || String(tls.authorizationError).includes("NOT_YET_VALID") ? "expired" : "stranger"); return; }
      clearTimeout(timer);
      tls.removeAllListeners();
      timer = setTimeout(() => { end("answers"); }, firstWordTimeoutMs);
      tls.once("data", () => { end("answers"); });
      tls.once("error", () => { end("refused_us"); });
      tls.once("close", () => { end("refused_us"); });
    });
  });
}

/** Whether the machine gives a sign of life apart from minid's ports: to `ping`, or by ICMP to a datagram that nobody wants. */
export async function pings(host: string): Promise<boolean> {
  const [pinged, refused] = await Promise.all([
    run("ping", process.platform === "darwin" ? ["-c", "2", "-t", "2", host] : ["-c", "2", "-W", "2", host], { timeout: 2 * connectTimeoutMs }).then(() => true, () => false),
    datagramRefused(host),
  ]);
  return pinged || refused;
}

function datagramRefused(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const timers: NodeJS.Timeout[] = [];
    const end = (refused: boolean): void => {
      for (const timer of timers) clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => undefined);
      socket.close();
      resolve(refused);
    };
    socket.once("error", (error: NodeJS.ErrnoException) => { end(error.code === "ECONNREFUSED"); });
    socket.connect(unusedUdpPort, host, (...error: unknown[]) => {
      if (error[0] !== undefined && error[0] !== null) { end(false); return; }
      // The refusal of one datagram is told to the next.
      const send = (): void => { socket.send("", (failed) => { if (failed) end((failed as NodeJS.ErrnoException).code === "ECONNREFUSED"); }); };
      send();
      timers.push(setTimeout(send, 200), setTimeout(send, 600), setTimeout(() => { end(false); }, 1_500));
    });
  });
}
