/**
 * Which cluster a home belongs to. Founding makes a CA; joining installs one that was received. Either way the whole of
 * `<home>/tls` is prepared aside and put in place by one rename, so a crash leaves the old membership or the new one, never half.
 * A cluster that is left is moved to `<home>/former/<cluster id>`, never deleted.
 */
import { X509Certificate, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Clock, systemClock } from "../../core/clock.js";
import { readDurable, writeDurable, writeDurableBytes } from "../../core/durable-file.js";
import { MinidError } from "../../core/errors.js";
import { keySha256Of, nodeIdOf } from "../../core/trust/peer.js";
import { type TrustRecord, recordKey } from "../../core/trust/records.js";
import { type Cluster, clusterSchema, homeFiles, identitySchema, writeRecord } from "../../core/trust/trust.js";
import { type KeyAndCertificate, createCa, createSigningRequest, signRequest } from "../security/certificates.js";
import { type Identity, ensureIdentity, writeNodeId } from "./identity.js";

export interface Membership {
  readonly cluster: Cluster;
  readonly ca: KeyAndCertificate;
  /** This node's, PEM, with the CA's behind it. */
  readonly certificate: string;
  readonly records: readonly TrustRecord[];
}

const stagingOf = (home: string): string => join(home, "tls.next");

/** The cluster of this home, after finishing what a crash interrupted; undefined when it is in none. */
export async function currentCluster(home: string): Promise<Cluster | undefined> {
  const files = homeFiles(home);
  const staging = stagingOf(home);
  const complete = (directory: string) => existsSync(join(directory, "cluster.json"));
  if (complete(staging) && !existsSync(files.ca)) { await rm(files.tls, { recursive: true, force: true }); await rename(staging, files.tls); }
  await rm(staging, { recursive: true, force: true });
  const announced = await readDurable(files.cluster, clusterSchema);
  const installed = await readDurable(join(files.tls, "cluster.json"), clusterSchema) ?? await restoredCluster(files, announced);
  if (!installed) return undefined;
  if (announced?.clusterId !== installed.clusterId) await writeDurable(files.cluster, installed);
  const certified = nodeIdOf(await readCertificate(files.certificate));
  const identity = await readDurable(files.identity, identitySchema);
  if (certified !== undefined && certified !== identity?.nodeId) await writeNodeId(home, certified);
  return installed;
}

/**
 * The name of the cluster whose keys are there, when the file that says it is lost: from its other copy. A home with keys is never
 * taken for a new one: founding a cluster in it would throw the keys away.
 */
async function restoredCluster(files: ReturnType<typeof homeFiles>, announced: Cluster | undefined): Promise<Cluster | undefined> {
  if (!existsSync(files.ca) && !existsSync(files.certificate)) return undefined;
  if (!announced) throw new MinidError("home_unusable", `${files.tls} has a cluster's keys, but ${join(files.tls, "cluster.json")} and ${files.cluster} are both missing: restore one from a backup, or move ${files.tls} away to start as a new machine.`);
  await writeDurable(join(files.tls, "cluster.json"), announced);
  return announced;
}

async function readCertificate(file: string): Promise<X509Certificate> {
  try {
    return new X509Certificate(await readFile(file));
  } catch (error) {
    throw new MinidError("home_unusable", `${file} is missing, unreadable or no certificate (${error instanceof Error ? error.message : String(error)}): restore it from a backup, or move ${dirname(file)} away and join again.`, { cause: error });
  }
}

/** A node that does not stand in its own records can reach nobody, its own worker included; its certificate shows that it was admitted. */
async function ensureOwnRecord(home: string, deviceId: string, nowWallMs: number): Promise<void> {
  const files = homeFiles(home);
  const certificate = await readCertificate(files.certificate);
  const id = nodeIdOf(certificate);
  if (id === undefined || !certificate.verify((await readCertificate(files.ca)).publicKey)) return;
  await writeRecord(home, { kind: "member", nodeId: id, keySha256: keySha256Of(certificate), deviceId, by: id, atMs: nowWallMs });
}

/** The home's cluster, founded now if it has none. @param deviceId the machine's name in it. */
export async function foundCluster(home: string, options: { readonly name: string; readonly deviceId: string; readonly clock?: Clock }): Promise<Cluster> {
  const clock = options.clock ?? systemClock;
  const current = await currentCluster(home);
  if (current) {
    await ensureOwnRecord(home, options.deviceId, clock.wallMs());
    return current;
  }
  const identity = await ensureIdentity(home);
  const cluster = { clusterId: randomBytes(16).toString("hex"), name: options.name };
  const ca = await createCa(cluster.clusterId, clock.wallMs());
  const { certificate, keySha256 } = await signRequest(await createSigningRequest(identity.key, identity.nodeId), { nodeId: identity.nodeId, clusterId: cluster.clusterId }, ca, clock.wallMs());
  const founder: TrustRecord = { kind: "member", nodeId: identity.nodeId, keySha256, deviceId: options.deviceId, by: identity.nodeId, atMs: clock.wallMs() };
  await installMembership(home, identity, { cluster, ca, certificate, records: [founder] });
  return cluster;
}

/** Puts a membership in place of whatever the home had. A running agent and worker notice and must be restarted. */
export async function installMembership(home: string, identity: Identity, membership: Membership): Promise<void> {
  const files = homeFiles(home);
  const staging = stagingOf(home);
  await rm(staging, { recursive: true, force: true });
  const staged = (file: string) => join(staging, basename(file));
  await writeDurableBytes(staged(files.ca), membership.ca.certificate);
  await writeDurableBytes(staged(files.caKey), membership.ca.key);
  await writeDurableBytes(staged(files.key), identity.key);
  await writeDurableBytes(staged(files.certificate), membership.certificate);
  for (const record of membership.records) await writeDurable(join(staging, "trust", `${recordKey(record)}.json`), record);
  // Last: says that the rest is complete.
  await writeDurable(join(staging, "cluster.json"), membership.cluster);
  await setAside(home);
  await rename(staging, files.tls);
  await writeDurable(files.cluster, membership.cluster);
  const known = await readDurable(files.identity, identitySchema);
  if (known?.nodeId !== identity.nodeId) await writeNodeId(home, identity.nodeId);
}

async function setAside(home: string): Promise<void> {
  const files = homeFiles(home);
  const former = await readDurable(join(files.tls, "cluster.json"), clusterSchema).catch(() => undefined);
  if (!former) { await rm(files.tls, { recursive: true, force: true }); return; }
  const place = join(home, "former", former.clusterId);
  await rm(place, { recursive: true, force: true });
  await mkdir(join(home, "former"), { recursive: true, mode: 0o700 });
  await rename(files.tls, place);
}

/** The CA of the home's cluster, to sign with. @throws when the files cannot be read. */
export async function readCa(home: string): Promise<KeyAndCertificate> {
  const files = homeFiles(home);
  return { key: await readFile(files.caKey, "utf8"), certificate: await readFile(files.ca, "utf8") };
}
