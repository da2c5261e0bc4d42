/** Looks at a home's files: rights, records, trust. Reads only, but for one empty file that proves that it can be written. */
import { X509Certificate } from "node:crypto";
import { access, lstat, readFile, readdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { HomeLook, NodeLook, TrustLook } from "../../checks/node-facts.js";
import { readDurable } from "../../core/durable-file.js";
import { errorLine, toMinidError } from "../../core/errors.js";
import { Trust, homeFiles } from "../../core/trust/trust.js";
import { type ConfigSources, loadConfig } from "../config/load.js";
import { statfs } from "node:fs/promises";

const othersMask = 0o077;
/** Written by `writeDurable`: checked by their checksum, whatever they hold. */
const durableRecords = ["identity.json", "cluster.json", "cluster-state.json", "worker-epoch.json", "peers.json"];

export async function lookAtHome(home: string): Promise<HomeLook> {
  const empty = { path: home, open: [], damaged: [], setAside: [] };
  const found = await stat(home).catch(() => undefined);
  if (!found) return { ...empty, state: "missing" };
  if (!found.isDirectory()) return { ...empty, state: "not_a_directory" };
  const uid = process.getuid?.();
  if (uid !== undefined && uid !== 0 && found.uid !== uid) return { ...empty, state: "foreign" };
  const [open, damaged, names] = await Promise.all([openToOthers(home), damagedRecords(home), readdir(home).catch(() => [])]);
  return { path: home, state: await isReadOnly(home) ? "read_only" : "ok", open, damaged, setAside: names.filter((name) => name.endsWith(".damaged")) };
}

/** A full disk is another trouble: only a file system or rights that forbid writing count. */
async function isReadOnly(home: string): Promise<boolean> {
  const probe = join(home, `.doctor.${process.pid}.tmp`);
  try {
    await writeFile(probe, "", { mode: 0o600 });
    return false;
  } catch (error) {
    return ["EROFS", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
  } finally { await unlink(probe).catch(() => undefined); }
}

/** The home itself, and what is secret in it. @returns names with modes, the home as `.`. */
export async function openToOthers(home: string): Promise<string[]> {
  const files = homeFiles(home);
  const looked = await Promise.all([["." , home] as const, ["tls", files.tls] as const, ["tls/ca.key", files.caKey] as const, ["tls/node.key", files.key] as const].map(async ([name, path]) => {
    const found = await lstat(path).catch(() => undefined);
    return found !== undefined && (found.mode & othersMask) !== 0 ? [`${name} (mode ${(found.mode & 0o777).toString(8)})`] : [];
  }));
  return looked.flat();
}

/** @returns what is wrong with each that cannot be read, in words that name the file. */
async function damagedRecords(home: string): Promise<string[]> {
  const problems = await Promise.all(durableRecords.map((name) => readDurable(join(home, name), z.unknown()).then(() => [], (error: unknown) => [toMinidError(error).message])));
  return problems.flat();
}

export async function lookAtTrust(home: string): Promise<TrustLook> {
  const files = homeFiles(home);
  const founded = await access(files.cluster).then(() => true, () => access(files.tls).then(() => true, () => false));
  const certificate = await readFile(files.certificate).then((bytes) => new X509Certificate(bytes)).catch(() => undefined);
  let problem: string | undefined;
  try { if (founded) Trust.open(home).close(); } catch (error) { problem = toMinidError(error).message; }
  return { founded, problem, certificate: certificate && { fromMs: Date.parse(certificate.validFrom), toMs: Date.parse(certificate.validTo) } };
}

/** What the next start would say to the configuration. */
export function configProblemOf(sources: ConfigSources): string | undefined {
  try { loadConfig(sources); return undefined; } catch (error) { return errorLine(error); }
}

export async function lookAtLogDisk(home: string): Promise<NodeLook["logDisk"]> {
  const path = join(home, "logs");
  const [ownHome, logs] = await Promise.all([stat(home).catch(() => undefined), stat(path).catch(() => undefined)]);
  if (!ownHome || !logs || ownHome.dev === logs.dev) return undefined;
  const { bavail, blocks, bsize } = await statfs(path);
  return { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
