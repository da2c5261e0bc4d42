/**
 * Which program listens on a TCP port of this machine, by name and pid. Linux: the socket's inode in /proc/net/tcp, looked for
 * among the open files of all processes that may be looked at. macOS: `lsof`. Command lines are not shown: they may hold secrets.
 */
import { execFile } from "node:child_process";
import { readFile, readdir, readlink } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const askTimeoutMs = 3_000;
const listening = "0A";

/** @returns `nginx (pid 812)`; undefined when nobody listens, or the system does not tell whom. */
export async function portHolder(port: number): Promise<string | undefined> {
  const pid = process.platform === "linux" ? await linuxHolder(port) : await lsofHolder(port);
  if (pid === undefined) return undefined;
  const name = process.platform === "linux"
    ? await readFile(`/proc/${pid}/comm`, "utf8").then((text) => text.trim(), () => "")
    : await run("ps", ["-o", "comm=", "-p", String(pid)], { timeout: askTimeoutMs }).then(({ stdout }) => stdout.trim(), () => "");
  return `${name === "" ? "a program" : name} (pid ${pid})`;
}

async function linuxHolder(port: number): Promise<number | undefined> {
  const tables = await Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "latin1").catch(() => "")));
  const inodes = new Set(tables.flatMap((table) => listenersOf(table, port)));
  if (inodes.size === 0) return undefined;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/u.test(name));
  for (const pid of pids) {
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const file of files) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => "");
      if (inodes.has(target)) return Number(pid);
    }
  }
  return undefined;
}

/** Lines of proc_net_tcp: `sl local_address rem_address st … inode`. @returns what links of the socket look like: `socket:[4711]`. */
export function listenersOf(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  return table.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/u);
    return fields[1]?.endsWith(`:${wanted}`) && fields[3] === listening && fields[9] !== undefined ? [`socket:[${fields[9]}]`] : [];
  });
}

async function lsofHolder(port: number): Promise<number | undefined> {
  const output = await run("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fp"], { timeout: askTimeoutMs }).then(({ stdout }) => stdout, () => "");
  const pid = /^p(\d+)/mu.exec(output)?.[1];
  return pid === undefined ? undefined : Number(pid);
}
