/**
 * What `minid doctor --fix` mends, on this machine only: what is safe whatever the cause, can be undone or heals to the same state by
 * itself, and needs no judgement. It says what it did, and what it could not do.
 *
 *   home_permissions    takes the rights of others away
 *   certificate_*       signs itself a new certificate with the authority's key of this home
 *   state_damaged       moves damaged records of epoch and peers aside; identity and cluster are never touched
 *   agent_hung          SIGKILL to the agent's process, which pm2 starts again
 *   leftovers           temporary files that a crash left in the home
 */
import { chmod, readFile, readdir, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { systemClock } from "../core/clock.js";
import { toMinidError } from "../core/errors.js";
import { isAlive, killProcess } from "../core/process-identity.js";
import { readRunFile } from "../core/run-file.js";
import { homeFiles, clusterSchema } from "../core/trust/trust.js";
import { readDurable } from "../core/durable-file.js";
import { renew } from "../daemon/security/renewer.js";
import type { Examination } from "../daemon/doctor/examine.js";
import { z } from "zod";

export interface Fixed {
  readonly code: string;
  readonly done: boolean;
  /** What was done, or why it could not be. */
  readonly what: string;
}

/** Records that are made anew, above everything used before (`ClusterInit.counterFloor`). */
const replaceable = ["cluster-state.json", "worker-epoch.json", "peers.json"];
const leftover = /\.\d+\.[0-9a-f]{8}\.tmp$/u;
/** A file this young may belong to a write under way. */
const leftoverMsMin = 60_000;

export async function mend(home: string, { findings, device }: Examination): Promise<Fixed[]> {
  const troubles = new Set(findings.filter((finding) => finding.severity !== "ok" && (finding.device === undefined || finding.device === device)).map(({ code }) => code));
  const fixed: Fixed[] = [];
  const attempt = async (code: string, wanted: boolean, act: () => Promise<readonly string[]>): Promise<void> => {
    if (!wanted) return;
    try {
      for (const what of await act()) fixed.push({ code, done: true, what });
    } catch (error) { fixed.push({ code, done: false, what: toMinidError(error).message }); }
  };
  await attempt("home_permissions", troubles.has("home_permissions"), () => closeToOthers(home));
  await attempt("state_damaged", troubles.has("state_damaged"), () => moveDamagedAside(home));
  await attempt("certificate_expired", troubles.has("certificate_expired") || troubles.has("certificate_expiring"), () => renewNow(home));
  await attempt("agent_hung", troubles.has("agent_hung"), () => Promise.resolve(endAgent(home)));
  await attempt("leftovers", true, () => removeLeftovers(home));
  return fixed;
}

async function closeToOthers(home: string): Promise<string[]> {
  const { tls, caKey, key } = homeFiles(home);
  const done: string[] = [];
  for (const path of [home, tls, caKey, key]) {
    const found = await stat(path).catch(() => undefined);
    if (!found || (found.mode & 0o077) === 0) continue;
    await chmod(path, found.mode & 0o700);
    done.push(`${path}: mode ${(found.mode & 0o777).toString(8)} is now ${(found.mode & 0o700).toString(8)}`);
  }
  return done;
}

async function moveDamagedAside(home: string): Promise<string[]> {
  const done: string[] = [];
  for (const name of replaceable) {
    const file = join(home, name);
    if (await readDurable(file, z.unknown()).then(() => true, () => false)) continue;
    await rename(file, `${file}.damaged`);
    done.push(`${file} is now ${name}.damaged; the next start makes it anew`);
  }
  return done;
}

async function renewNow(home: string): Promise<string[]> {
  const cluster = await readDurable(homeFiles(home).cluster, clusterSchema);
  if (!cluster) return [];
  await renew(home, cluster, systemClock);
  const certificate = new X509Certificate(await readFile(homeFiles(home).certificate));
  return [`renewed: valid until ${new Date(Date.parse(certificate.validTo)).toISOString()}; a running node takes it up within seconds`];
}

function endAgent(home: string): string[] {
  const agent = readRunFile(home, "agent");
  if (!agent || !isAlive(agent) || !killProcess(agent)) return [];
  return [`ended the agent's process ${agent.pid}; pm2 starts it again`];
}

async function removeLeftovers(home: string): Promise<string[]> {
  const done: string[] = [];
  for (const directory of [home, homeFiles(home).tls, homeFiles(home).trust]) {
    for (const name of (await readdir(directory).catch(() => [])).filter((each) => leftover.test(each))) {
      const path = join(directory, name);
      const found = await stat(path).catch(() => undefined);
      if (!found || systemClock.wallMs() - found.mtimeMs < leftoverMsMin) continue;
      await unlink(path);
      done.push(`removed ${path}, which a crash left behind`);
    }
  }
  return done;
}
