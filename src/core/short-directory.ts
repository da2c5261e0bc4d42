/** Where sockets of a home can lie: a socket's path has a small limit (sockaddr_un), a home's has none. */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** sun_path on macOS, its terminating zero included; Linux has 108. */
const socketPathBytesMax = 104;

/**
 * @param preferred a directory inside the home.
 * @param longestName of the sockets that will lie there.
 * @returns `preferred`, or a short private directory that belongs to the home when the path would be too long for a socket.
 */
export function shortDirectory(home: string, preferred: string, longestName: string, temporary = tmpdir()): string {
  const fits = (directory: string) => Buffer.byteLength(join(directory, longestName)) < socketPathBytesMax;
  if (fits(preferred)) return preferred;
  const name = `minid-${createHash("sha256").update(home).digest("hex").slice(0, 12)}`;
  const short = join(temporary, name);
  return fits(short) ? short : join("/tmp", name);
}
