/**
 * Can this machine hear its own multicast? What cannot be heard here cannot be heard elsewhere either: a firewall, an interface
 * without multicast, or, on a Mac, Local Network privacy, which makes a program deaf without any error.
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { type InterfaceAddress } from "./mdns-policy.js";
import { usableInterfaces } from "./interfaces.js";

const group = "224.0.0.251";
const port = 5_353;
const timeoutDefaultMs = 1_000;
const attempts = 3;

export interface MulticastTest {
  readonly interface: InterfaceAddress;
  readonly heard: boolean;
  /** Why not, when the system said so. */
  readonly problem: string | undefined;
}

/** @returns one result for each interface. */
export function testMulticast(options: { readonly interfaces?: readonly InterfaceAddress[]; readonly timeoutMs?: number } = {}): Promise<MulticastTest[]> {
  return Promise.all((options.interfaces ?? usableInterfaces()).map((each) => testOne(each, options.timeoutMs ?? timeoutDefaultMs)));
}

function testOne(each: InterfaceAddress, timeoutMs: number): Promise<MulticastTest> {
  // Not DNS: listeners drop it as malformed, and nothing else on the network can be mistaken for it.
  const probe = Buffer.concat([Buffer.from("minid"), randomBytes(12)]);
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  return new Promise((resolve) => {
    let problem: string | undefined;
    const timers: NodeJS.Timeout[] = [];
    const end = (heard: boolean): void => {
      for (const timer of timers) clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => undefined);
      try { socket.close(); } catch { /* it never opened */ }
      resolve({ interface: each, heard, problem: heard ? undefined : problem });
    };
    timers.push(setTimeout(() => { end(false); }, timeoutMs));
    socket.on("error", (error) => { problem = error.message; end(false); });
    socket.on("message", (message, from) => { if (from.address === each.address && message.equals(probe)) end(true); });
    socket.bind(port, "0.0.0.0", () => {
      try {
        socket.addMembership(group, each.address);
        socket.setMulticastInterface(each.address);
        socket.setMulticastLoopback(true);
      } catch (error) { problem = error instanceof Error ? error.message : String(error); end(false); return; }
      const send = (): void => { socket.send(probe, port, group, (error) => { if (error) problem = error.message; }); };
      for (let attempt = 0; attempt < attempts; attempt += 1) timers.push(setTimeout(send, attempt * timeoutMs / attempts));
    });
  });
}
