/**
 * Fetches a model from a Hugging Face compatible hub into `<home>/models/<id>`: resumable, checked, and there as a whole or not at all.
 *
 * Files gather in `<home>/models/.pull/<id>` (no model id begins with a dot, so a half model is never found) and one rename puts
 * the model in place; an older one of that id is set aside first and removed afterwards. One process pulls one model at a time.
 */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { timeoutSignal } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import { isAlive, processStartTime } from "../../core/process-identity.js";
import { isModelId } from "../store.js";
import { downloadFile, refusal } from "./download.js";
import { type HubListing, readListing } from "./listing.js";

/** What has to stay free beside the model: logs and state. */
const spareBytes = 256 << 20;
const listTimeoutMs = 30_000;
const noteName = ".minid-pull.json";

export interface PullOptions {
  readonly home: string;
  readonly modelId: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** `https://huggingface.co` */
  readonly hubUrl: string;
  /** For gated models; goes to the hub's own host only. */
  readonly token: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PullProgress) => void;
  readonly stallMs?: number;
  readonly retryDelayMs?: number;
}

export interface PullProgress { readonly bytes: number; readonly bytesTotal: number; readonly file: string }

export interface Pulled {
  readonly id: string;
  readonly directory: string;
  readonly commit: string;
  readonly bytes: number;
  readonly files: number;
  /** False: it was here already, in this very commit. */
  readonly fetched: boolean;
}

/** @throws MinidError usage | download_failed | download_refused | model_corrupt | model_unsupported | home_unusable */
export async function pullModel(options: PullOptions): Promise<Pulled> {
  const { home, modelId, revision, hubUrl, token, signal } = options;
  if (!isModelId(modelId) || !modelId.includes("/")) throw new MinidError("usage", `${JSON.stringify(modelId)} is no model id of a hub: write org/name`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/u.test(revision)) throw new MinidError("usage", `--revision ${JSON.stringify(revision)} is no branch, tag or commit`);
  const headers = { "user-agent": "minid", ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const base = hubUrl.replace(/\/+$/u, "");
  const listing = await fetchListing(`${base}/api/models/${modelId}/revision/${encodeURIComponent(revision)}?blobs=true`, modelId, headers, signal);
  const bytesTotal = listing.files.reduce((sum, file) => sum + file.bytes, 0);
  const target = join(home, "models", modelId);
  const result = { id: modelId, directory: target, commit: listing.commit, bytes: bytesTotal, files: listing.files.length };
  if (await isComplete(target, listing)) return { ...result, fetched: false };

  const staging = join(home, "models", ".pull", modelId.replace("/", "--"));
  await usable(home, () => mkdir(staging, { recursive: true, mode: 0o700 }));
  const unlock = await lock(staging, modelId);
  try {
    await dropForeign(staging, listing);
    await requireSpace(staging, bytesTotal);
    let done = 0;
    for (const file of listing.files) {
      await downloadFile(file, {
        url: `${base}/${modelId}/resolve/${listing.commit}/${encodeURIComponent(file.name)}`, headers, directory: staging, signal,
        onProgress: (bytes) => { options.onProgress({ bytes: done + bytes, bytesTotal, file: file.name }); },
        ...(options.stallMs !== undefined && { stallMs: options.stallMs }), ...(options.retryDelayMs !== undefined && { retryDelayMs: options.retryDelayMs }),
      });
      done += file.bytes;
    }
    await writeFile(join(staging, noteName), `${JSON.stringify({ id: modelId, hub: base, commit: listing.commit, files: listing.files })}\n`, { mode: 0o600 });
    await install(staging, target);
  } finally {
    await unlock();
  }
  return { ...result, fetched: true };
}

async function fetchListing(url: string, modelId: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HubListing> {
  let response: Response;
  try {
    response = await fetch(url, { headers, signal: timeoutSignal(listTimeoutMs, signal) });
  } catch (error) {
    signal.throwIfAborted();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new MinidError("download_failed", `the hub at ${new URL(url).origin} could not be reached: ${cause}; check the network, or name another hub with hub_url`, { cause: error });
  }
  if (!response.ok) throw await refusal(response, modelId);
  const json: unknown = await response.json().catch(() => undefined);
  return readListing(modelId, json);
}

/** Sizes, and the commit it says it is of: checksums were held when it was put there. */
async function isComplete(target: string, listing: HubListing): Promise<boolean> {
  let note: unknown;
  try { note = JSON.parse(readFileSync(join(target, noteName), "utf8")); } catch { return false; }
  if ((note as { readonly commit?: unknown } | null)?.commit !== listing.commit) return false;
  const sizes = await Promise.all(listing.files.map((file) => stat(join(target, file.name)).then(({ size }) => size === file.bytes, () => false)));
  return sizes.every(Boolean);
}

/** What another commit left behind is of no use: same names, other bytes. */
async function dropForeign(staging: string, listing: HubListing): Promise<void> {
  const names = new Set(listing.files.flatMap(({ name }) => [name, `${name}.part`]));
  const commitFile = join(staging, "commit");
  const same = existsSync(commitFile) && readFileSync(commitFile, "utf8") === listing.commit;
  for (const name of await readdir(staging)) if (name !== "lock" && (!same || (name !== "commit" && !names.has(name)))) await rm(join(staging, name), { recursive: true, force: true });
  await writeFile(commitFile, listing.commit, { mode: 0o600 });
}

async function requireSpace(staging: string, bytesTotal: number): Promise<void> {
  const { bavail, bsize } = await statfs(staging);
  const here = await Promise.all((await readdir(staging)).map(async (name) => (await stat(join(staging, name))).size));
  const missing = bytesTotal - here.reduce((sum, size) => sum + size, 0);
  const free = bavail * bsize;
  if (missing + spareBytes > free) throw new MinidError("home_unusable", `the model needs ${Math.ceil((missing + spareBytes) / 2 ** 20)} MiB more and ${Math.floor(free / 2 ** 20)} MiB are free at ${staging}: free some space, or choose another home`);
}

async function install(staging: string, target: string): Promise<void> {
  await Promise.all(["commit", "lock"].map((name) => rm(join(staging, name), { force: true })));
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const aside = join(dirname(staging), `old-${randomUUID()}`);
  const replaced = existsSync(target);
  if (replaced) await rename(target, aside);
  await rename(staging, target);
  const folder = await open(dirname(target), "r");
  try { await folder.sync(); } finally { await folder.close(); }
  if (replaced) await rm(aside, { recursive: true, force: true });
}

/** A lock that a dead process left is taken over. */
async function lock(staging: string, modelId: string): Promise<() => Promise<void>> {
  const path = join(staging, "lock");
  const own = JSON.stringify({ pid: process.pid, startTime: processStartTime(process.pid) });
  for (let attempt = 0; ; attempt += 1) {
    try {
      await writeFile(path, own, { flag: "wx", mode: 0o600 });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt > 0) throw new MinidError("home_unusable", `${path} cannot be made`, { cause: error });
      const holder = readHolder(path);
      if (holder && isAlive(holder)) throw new MinidError("home_unusable", `${modelId} is being pulled by another process (pid ${holder.pid}): wait for it`);
      await rm(path, { force: true });
    }
  }
}

function readHolder(path: string): { readonly pid: number; readonly startTime: string } | undefined {
  try {
    const { pid, startTime } = JSON.parse(readFileSync(path, "utf8")) as { readonly pid?: unknown; readonly startTime?: unknown };
    return typeof pid === "number" && typeof startTime === "string" ? { pid, startTime } : undefined;
  } catch {
    return undefined;
  }
}

async function usable(home: string, use: () => Promise<unknown>): Promise<void> {
  try {
    await use();
  } catch (error) {
    throw new MinidError("home_unusable", `${home} cannot be written (${(error as NodeJS.ErrnoException).code ?? "error"}): correct --home or its owner`, { cause: error });
  }
}
