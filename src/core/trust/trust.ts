/**
 * What this node trusts just now, from the files of its home: the cluster's CA, its own certificate and key, and the trust
 * records. Several processes of one home (agent, worker, CLI) share the files and nothing else: each record is its own,
 * immutable file, so no two writers can lose each other's, and a CLI command needs no running agent.
 *
 *   <home>/identity.json        {nodeId}                 <home>/tls/ca.pem  ca.key  node.pem  node.key
 *   <home>/cluster.json         {clusterId, name}        <home>/tls/trust/<record key>.json
 *
 * Reads are synchronous: a TLS handshake waits for the answer. They are small, and happen when a directory changed or a peer is unknown.
 * Does not make certificates or tokens (daemon/security), does not talk to anyone.
 */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type Clock, systemClock } from "../clock.js";
import { readDurable, readDurableSync, writeDurable } from "../durable-file.js";
import { MinidError } from "../errors.js";
import { type NodeId, nodeId } from "../ids.js";
import { type TrustRecord, TrustSet, isSpent, recordKey, trustRecordSchema } from "./records.js";

const pollIntervalMs = 1_000;
/** A look at the files' dates can miss a change within one tick of the file system's clock; reading cannot. */
const rereadIntervalMaxMs = 10_000;
/** A peer that no record knows makes us look at the directory again, but not oftener than this. */
const rereadIntervalMinMs = 100;
/** Records expire as time passes; until this is over the digest stays. */
const digestIntervalMs = 1_000;
/** The last moment that a date can name. */
const wallMsMax = 8.64e15;
const pemBytesMax = 64 << 10;

export const identitySchema = z.object({ nodeId: z.string().regex(/^[0-9a-f]{32}$/u).transform(nodeId), createdAtMs: z.number() });
export const clusterSchema = z.object({ clusterId: z.string().regex(/^[0-9a-f]{32}$/u), name: z.string().min(1).max(63) });
export type Cluster = z.output<typeof clusterSchema>;

export const homeFiles = (home: string) => ({
  identity: join(home, "identity.json"),
  cluster: join(home, "cluster.json"),
  tls: join(home, "tls"),
  ca: join(home, "tls", "ca.pem"),
  caKey: join(home, "tls", "ca.key"),
  certificate: join(home, "tls", "node.pem"),
  key: join(home, "tls", "node.key"),
  trust: join(home, "tls", "trust"),
});

export interface TlsMaterial {
  readonly ca: Buffer;
  /** The node's certificate, then the CA's: a joiner pins the second. */
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

export type TrustChange = "material" | "records" | "cluster";

export class Trust {
  readonly home: string;
  readonly nodeId: NodeId;
  readonly #clock: Clock;
  readonly #onProblem: (message: string) => void;
  readonly #listeners = new Set<(change: TrustChange) => void>();
  readonly #timer: NodeJS.Timeout;
  #cluster: Cluster;
  #material: TlsMaterial;
  #records = TrustSet.empty;
  #rereadAtMs = -Infinity;
  #readAtMs: number;
  #dates: string;
  #problem = "";
  #digest: { readonly records: TrustSet; readonly atMs: number; readonly text: string } | undefined;

  /**
   * Opens the files and keeps looking at them until `close()`.
   * @throws MinidError no_cluster when the home is in no cluster yet; home_unusable when its files are damaged.
   */
  static open(home: string, options: { readonly clock?: Clock; readonly onProblem?: (message: string) => void } = {}): Trust {
    const files = homeFiles(home);
    const identity = readDurableSync(files.identity, identitySchema);
    const cluster = readDurableSync(files.cluster, clusterSchema);
    if (!identity || !cluster) throw new MinidError("no_cluster", `${home} is in no cluster yet: start it once with \`minid up\`, or join one with \`minid join TOKEN\`.`);
    return new Trust(home, identity.nodeId, cluster, options.clock ?? systemClock, options.onProblem ?? (() => undefined));
  }

  private constructor(home: string, id: NodeId, cluster: Cluster, clock: Clock, onProblem: (message: string) => void) {
    this.home = home;
    this.nodeId = id;
    this.#clock = clock;
    this.#onProblem = onProblem;
    this.#cluster = cluster;
    this.#dates = datesOf(home);
    this.#readAtMs = clock.now();
    this.#material = readMaterial(home);
    this.#records = this.#readRecords();
    this.#timer = setInterval(() => { this.#poll(); }, pollIntervalMs);
    this.#timer.unref();
  }

  get cluster(): Cluster { return this.#cluster; }
  get material(): TlsMaterial { return this.#material; }
  get records(): TrustSet { return this.#records; }
  /** Of the records; a peer with another one knows something that we do not, or the reverse. Every heartbeat asks. */
  get digest(): string {
    const now = this.#clock.now();
    if (this.#digest?.records !== this.#records || now - this.#digest.atMs > digestIntervalMs) {
      this.#digest = { records: this.#records, atMs: now, text: this.#records.digest(this.#clock.wallMs()) };
    }
    return this.#digest.text;
  }

  /** @returns a function that ends the subscription. */
  onChange(listener: (change: TrustChange) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /** Reads what other processes of this home have written since. Never throws: the last good state stays, and the problem is told once. */
  refresh(): void {
    try {
      const before = { records: this.#records, material: this.#material, cluster: this.#cluster };
      const identity = readDurableSync(homeFiles(this.home).identity, identitySchema);
      this.#cluster = readDurableSync(homeFiles(this.home).cluster, clusterSchema) ?? this.#cluster;
      this.#material = readMaterial(this.home, this.#material);
      this.#records = this.#readRecords();
      this.#problem = "";
      if (before.cluster.clusterId !== this.#cluster.clusterId || identity?.nodeId !== this.nodeId) this.#tell("cluster");
      if (before.material !== this.#material) this.#tell("material");
      if (before.records !== this.#records) this.#tell("records");
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) { this.#problem = problem; this.#onProblem(problem); }
    }
  }

  /** For a peer that nothing is known about: another process of this home may just have written its record. */
  refreshForUnknown(): void {
    const now = this.#clock.now();
    if (now - this.#rereadAtMs < rereadIntervalMinMs) return;
    this.#rereadAtMs = now;
    this.refresh();
  }

  /** Durable when it resolves. @returns whether anything was new. */
  async add(records: readonly TrustRecord[]): Promise<boolean> {
    const wallMs = this.#clock.wallMs();
    const fresh = records.filter((record) => !this.#records.has(recordKey(record)) && !isSpent(record, wallMs));
    for (const record of fresh) await writeRecord(this.home, record);
    const next = this.#records.with(fresh);
    const changed = next !== this.#records;
    this.#records = next;
    if (changed) this.#tell("records");
    return changed;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #poll(): void {
    const dates = datesOf(this.home);
    if (dates === this.#dates && this.#clock.now() - this.#readAtMs < rereadIntervalMaxMs) return;
    this.#dates = dates;
    this.#readAtMs = this.#clock.now();
    this.refresh();
  }

  #tell(change: TrustChange): void { for (const listener of this.#listeners) listener(change); }

  #readRecords(): TrustSet {
    const directory = homeFiles(this.home).trust;
    const names = readdirSync(directory).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length));
    // A cluster that was left took its records with it.
    const present = new Set(names);
    const known = this.#records.list().every((record) => present.has(recordKey(record))) ? this.#records : TrustSet.empty;
    const wallMs = this.#clock.wallMs();
    const fresh: TrustRecord[] = [];
    for (const name of names) {
      if (known.has(name)) continue;
      const record = readRecord(directory, name, this.nodeId);
      if (record && isSpent(record, wallMs)) rmSync(join(directory, `${name}.json`), { force: true });
      else if (record) fresh.push(record);
    }
    return known.with(fresh);
  }
}

/** The trust of a home for one errand. */
export async function withTrust<T>(home: string, use: (trust: Trust) => Promise<T>): Promise<T> {
  const trust = Trust.open(home);
  try { return await use(trust); } finally { trust.close(); }
}

/** Writes one record, for processes that hold no open `Trust`. An existing one is left as it is. */
export async function writeRecord(home: string, record: TrustRecord): Promise<void> {
  const file = join(homeFiles(home).trust, `${recordKey(record)}.json`);
  if (await readDurable(file, trustRecordSchema).catch(() => undefined)) return;
  await writeDurable(file, record);
}

/** Differs when a file was written: every write of ours replaces the file. */
function datesOf(home: string): string {
  const files = homeFiles(home);
  return [files.identity, files.cluster, files.ca, files.certificate, files.key, files.trust].map((file) => {
    const found = statSync(file, { throwIfNoEntry: false });
    return found ? `${found.ino}:${found.mtimeMs}:${found.size}` : "";
  }).join();
}

function readRecord(directory: string, name: string, reader: NodeId): TrustRecord | undefined {
  try {
    return readDurableSync(join(directory, `${name}.json`), trustRecordSchema);
  } catch (error) {
    const ended = endRecordOf(name, reader);
    if (ended === undefined) throw error;
    return ended;
  }
}

/** Fail closed: that a machine was forgotten, or a token or key ended, is in the file's name, and holds even when its content is damaged. */
function endRecordOf(name: string, by: NodeId): TrustRecord | undefined {
  const [, kind, id = ""] = /^(forgotten|token-end|key-end)\.([0-9a-f]+)$/u.exec(name) ?? [];
  switch (kind) {
    case "forgotten": return { kind, nodeId: nodeId(id), by, atMs: 0 };
    case "token-end": return { kind, tokenId: id, reason: "revoked", expiresAtMs: wallMsMax, by, atMs: 0 };
    case "key-end": return { kind, keyId: id, by, atMs: 0 };
    default: return undefined;
  }
}

/** @param last returned unchanged when the files are the same, or while they do not belong together (they are being replaced). */
function readMaterial(home: string, last?: TlsMaterial): TlsMaterial {
  const files = homeFiles(home);
  const read = (file: string): Buffer => {
    let bytes: Buffer;
    try { bytes = readFileSync(file); } catch (error) {
      throw new MinidError("home_unusable", `${file} cannot be read: restore it from a backup, or move ${files.tls} away and join again.`, { cause: error });
    }
    if (bytes.length === 0 || bytes.length > pemBytesMax) throw new MinidError("home_unusable", `${file} has ${bytes.length} bytes, which is not a PEM file of minid's: restore it, or move ${files.tls} away and join again.`);
    return bytes;
  };
  const next = { ca: read(files.ca), certificate: read(files.certificate), privateKey: read(files.key) };
  if (last && next.ca.equals(last.ca) && next.certificate.equals(last.certificate) && next.privateKey.equals(last.privateKey)) return last;
  let problem: string | undefined;
  try {
    const certificate = new X509Certificate(next.certificate);
    if (!certificate.checkPrivateKey(createPrivateKey(next.privateKey))) problem = "node.key does not belong to node.pem";
    else if (!certificate.verify(new X509Certificate(next.ca).publicKey)) problem = "node.pem is not signed by ca.pem";
  } catch (error) { problem = `a file is not PEM: ${error instanceof Error ? error.message : String(error)}`; }
  if (problem === undefined) return next;
  throw new MinidError("home_unusable", `${files.tls}: ${problem}: restore it from a backup, or move it away and join again.`);
}
