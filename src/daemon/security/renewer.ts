/**
 * Keeps this node's certificate young: signs itself a new one for the same key, with the cluster's CA that every member holds,
 * once two thirds of its life are over. Needs no network, so a machine that was off for months repairs itself at its start.
 * Listener and channels take the new one from the next connection on; nothing is restarted.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Clock, type Timers, systemClock } from "../../core/clock.js";
import { writeDurableBytes } from "../../core/durable-file.js";
import type { Log } from "../../core/log.js";
import { type Cluster, homeFiles } from "../../core/trust/trust.js";
import { readCa } from "../identity/cluster.js";
import { ensureIdentity } from "../identity/identity.js";
import { createSigningRequest, signRequest } from "./certificates.js";

const checkIntervalMs = 3_600_000;
const renewAtFraction = 2 / 3;

/** Past two thirds of its life, or not valid at this time at all (the clock was wrong when it was made). */
export function isRenewalDue(certificate: X509Certificate, nowWallMs: number): boolean {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  return nowWallMs < from || nowWallMs >= from + (to - from) * renewAtFraction;
}

/** @returns whether a new certificate was made. Call it before the trust is opened, and from then on with `keepRenewed`. */
export async function renewIfDue(home: string, cluster: Cluster, clock: Clock = systemClock): Promise<boolean> {
  const files = homeFiles(home);
  if (!isRenewalDue(new X509Certificate(await readFile(files.certificate)), clock.wallMs())) return false;
  await renew(home, cluster, clock);
  return true;
}

/** Now, whatever the present one's age. @throws MinidError home_unusable, or what reading the authority's key brings. */
export async function renew(home: string, cluster: Cluster, clock: Clock): Promise<void> {
  const files = homeFiles(home);
  const identity = await ensureIdentity(home);
  const request = await createSigningRequest(identity.key, identity.nodeId);
  const { certificate } = await signRequest(request, { nodeId: identity.nodeId, clusterId: cluster.clusterId }, await readCa(home), clock.wallMs());
  await writeDurableBytes(files.certificate, certificate);
}

/** Looks every hour, on the caller's timers. */
export function keepRenewed(home: string, cluster: Cluster, timers: Timers, log: Log, clock: Clock = systemClock): void {
  timers.every("certificate renewal", checkIntervalMs, async () => {
    if (await renewIfDue(home, cluster, clock)) log.info({}, "certificate renewed");
  });
}
