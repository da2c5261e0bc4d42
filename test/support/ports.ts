/**
 * Ports for tests that stay free until a node binds them, and while it is being restarted.
 *
 * A port from listen(0) lies where the system takes the ports of outgoing connections from, and is soon somebody's (Linux gives
 * 32768 and up, macOS 49152 and up). These lie below, in blocks: whoever listens on a block's first port has the rest of it, so that two
 * processes of tests never give the same port away, and a killed one's block is free again by itself.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:net";

const blocksFrom = 10_240;
const blocksEnd = 32_640;
const blockSize = 128;

/** The block that this process has now, and how far it is used up. */
let block: number | undefined;
let next = 0;

/** Ports on 127.0.0.1 that nobody listens on now, all different from any this process was given before. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    if (block === undefined || next === blockSize) {
      block = await takeBlock();
      next = 1;
    }
    const port = block + next;
    next += 1;
    const server = await listen(port);
    if (!server) continue;
    server.close();
    await once(server, "close");
    ports.push(port);
  }
  return ports;
}

/** @returns its first port, on which this process listens until it ends. @throws when none is left. */
async function takeBlock(): Promise<number> {
  const blocks = (blocksEnd - blocksFrom) / blockSize;
  const first = Math.floor(Math.random() * blocks);
  for (let i = 0; i < blocks; i += 1) {
    const block = blocksFrom + ((first + i) % blocks) * blockSize;
    const guard = await listen(block);
    if (!guard) continue;
    guard.unref();
    return block;
  }
  throw new Error(`no block of ${blockSize} ports is left between ${blocksFrom} and ${blocksEnd}: are other tests still running?`);
}

async function listen(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  const listening = once(server, "listening").then(() => server, () => undefined);
  server.listen(port, "127.0.0.1");
  return await listening;
}
