/**
 * One file from the hub: continued where it broke off, held to its size and checksum, and only then given its name.
 *
 * Invariant: a file without `.part` is complete and correct. A part that turns out wrong is thrown away, so that the next try
 * begins anew; a part that is merely short is kept, for this run and the next.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { backoffMs } from "../../core/backoff.js";
import { sleep } from "../../core/clock.js";
import { MinidError, toMinidError } from "../../core/errors.js";
import type { HubFile } from "./listing.js";

/** Without a byte for this long, the connection is given up and the file continued on another. */
const stallMsMax = 30_000;
/** In a row and without a byte of progress between them. */
const fruitlessAttemptsMax = 5;
const retries = { initialMs: 500, factor: 2, maxMs: 15_000 };

export interface DownloadOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Bytes of this file that are here so far. */
  readonly onProgress: (bytes: number) => void;
  readonly stallMs?: number;
  readonly retryDelayMs?: number;
}

/** @throws MinidError download_failed (retryable) | model_corrupt | home_unusable */
export async function downloadFile(file: HubFile, options: DownloadOptions): Promise<void> {
  const { directory, signal, onProgress } = options;
  const path = join(directory, file.name);
  const part = `${path}.part`;
  if (await sizeOf(path) === file.bytes && await matches(path, file)) { onProgress(file.bytes); return; }
  let fruitless = 0;
  for (;;) {
    signal.throwIfAborted();
    const before = await sizeOf(part);
    if (before > file.bytes) await rm(part);
    if (before === file.bytes || file.bytes === 0) break;
    try {
      await fetchRest(file, part, options);
    } catch (error) {
      signal.throwIfAborted();
      const failure = fetchFailure(error, file, options.url);
      fruitless = await sizeOf(part) > before ? 0 : fruitless + 1;
      if (!failure.retryable || fruitless >= fruitlessAttemptsMax) throw failure;
      await sleep(backoffMs({ ...retries, ...(options.retryDelayMs !== undefined && { initialMs: options.retryDelayMs }) }, fruitless), { signal });
    }
  }
  if (file.bytes === 0) await (await open(part, "a", 0o600)).close();
  if (!await matches(part, file)) {
    await rm(part);
    throw new MinidError("model_corrupt", `${file.name} came with another checksum than the hub's list says (${file.checksum.algorithm} ${file.checksum.hex}): it was thrown away; fetch it again`);
  }
  const handle = await open(part, "r+");
  try { await handle.sync(); } finally { await handle.close(); }
  await rename(part, path);
}

async function fetchRest(file: HubFile, part: string, options: DownloadOptions): Promise<void> {
  const { url, headers, signal, onProgress, stallMs = stallMsMax } = options;
  const from = await sizeOf(part);
  const stalled = new AbortController();
  const stall = (): NodeJS.Timeout => setTimeout(() => { stalled.abort(new MinidError("download_failed", `no byte of ${file.name} for ${stallMs / 1_000} s`)); }, stallMs);
  let timer = stall();
  let handle: FileHandle | undefined;
  try {
    const response = await fetch(url, { headers: { ...headers, ...(from > 0 && { range: `bytes=${from}-` }) }, signal: AbortSignal.any([signal, stalled.signal]) });
    if (!response.ok || response.body === null) throw await refusal(response, file.name);
    // Who does not know ranges sends the whole file again; who sends another range than asked for is not to be trusted.
    const continued = response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
    if (response.status === 206 && !continued) throw new MinidError("download_failed", `the hub sent another part of ${file.name} than was asked for`);
    handle = await open(part, continued ? "a" : "w", 0o600);
    let bytes = continued ? from : 0;
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = stall();
      bytes += chunk.length;
      if (bytes > file.bytes) throw new MinidError("model_corrupt", `${file.name} is longer than the hub's list says (${file.bytes} bytes)`);
      await handle.write(chunk);
      onProgress(bytes);
    }
    if (bytes < file.bytes) throw new MinidError("download_failed", `the connection ended after ${bytes} of ${file.bytes} bytes of ${file.name}`);
  } finally {
    clearTimeout(timer);
    await handle?.close();
  }
}

/** What the hub's answer means to a person. */
export async function refusal(response: Response, what: string): Promise<MinidError> {
  await response.body?.cancel();
  const { status } = response;
  if (status === 401 || status === 403) return new MinidError("download_refused", `the hub does not give ${what} (HTTP ${status}): it does not exist, or needs a token; accept the model's terms there and set HF_TOKEN`);
  if (status === 404) return new MinidError("download_refused", `the hub has no ${what} (HTTP 404): correct the id or the revision`);
  if (status >= 400 && status < 500 && status !== 408 && status !== 429) return new MinidError("download_refused", `the hub refuses ${what} (HTTP ${status})`);
  return new MinidError("download_failed", `the hub answers with HTTP ${status} for ${what}: try again later`);
}

function fetchFailure(error: unknown, file: HubFile, url: string): MinidError {
  if (error instanceof MinidError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") return new MinidError("home_unusable", `the disk is full: ${file.name} needs ${file.bytes} bytes; free some space and pull again, what is here is kept`, { cause: error });
  if (code === "EACCES" || code === "EROFS" || code === "EIO") return new MinidError("home_unusable", `${file.name} cannot be written (${code})`, { cause: error });
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : toMinidError(error).message;
  return new MinidError("download_failed", `${new URL(url).host} could not be reached for ${file.name}: ${cause}`, { cause: error });
}

const sizeOf = (path: string): Promise<number> => stat(path).then((found) => found.size, () => 0);

async function matches(path: string, file: HubFile): Promise<boolean> {
  const hash: Hash = createHash(file.checksum.algorithm === "sha256" ? "sha256" : "sha1");
  if (file.checksum.algorithm === "git-sha1") hash.update(`blob ${file.bytes}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex") === file.checksum.hex;
}
