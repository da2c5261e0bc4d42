/**
 * The whole HTTP API once more, on a socket in the home that only its user can open: no key is asked for, and orders for this
 * machine's agent (`/admin/*`) are taken. There is no way to it from a network or a web page. What `minid status` and its like use.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { FastifyInstance } from "fastify";
import { MinidError } from "../core/errors.js";
import { shortDirectory } from "../core/short-directory.js";

const socketName = "api.sock";

export function homeSocket(home: string): string {
  return join(shortDirectory(home, join(home, "run"), socketName), socketName);
}

export interface HomeSocket {
  /** Cuts what is open. */
  close(): Promise<void>;
}

/**
 * @param api the front door, ready.
 * @param connections where the front door looks up that a request came this way.
 * @throws MinidError home_unusable. A socket that a dead agent left is replaced.
 */
export async function listenAtHome(home: string, api: FastifyInstance, connections: WeakSet<Socket>): Promise<HomeSocket> {
  const path = homeSocket(home);
  const server = createServer((request, response) => { api.routing(request, response); });
  server.on("connection", (socket) => { connections.add(socket); });
  try {
    makePrivate(dirname(path));
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => { server.once("error", reject).listen(path, resolve); });
    chmodSync(path, 0o600);
  } catch (error) {
    if (error instanceof MinidError) throw error;
    throw new MinidError("home_unusable", `${path} cannot be made (${(error as NodeJS.ErrnoException).code ?? String(error)}): check that its directory is writable by minid's user and has free space.`, { cause: error });
  }
  return {
    close: () => new Promise((resolve) => {
      server.close(() => { resolve(); });
      server.closeAllConnections();
    }),
  };
}

/** Where the path would be too long the directory lies beside others' (`shortDirectory`): one of somebody else's is not used. */
function makePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = lstatSync(directory);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0) {
    throw new MinidError("home_unusable", `${directory} is not a directory that only minid's user can write: remove it.`);
  }
}
