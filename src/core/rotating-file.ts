/**
 * A log file that never takes more than its share: over `bytesMax` it becomes `<name>.1`, the older ones move on, and the oldest of
 * `filesMax` is removed. The program rotates, because nobody else can: launchd and pm2 hold a file open for ever.
 *
 * Invariants: writing never blocks and never throws; what the disk does not take is dropped and counted, and the count is written as
 * soon as the disk takes something again; what waits is bounded; a line is never split over two files. Several processes may write
 * one file (a worker and its successor): each line is one append, and one of them at a time rotates, who holds `<name>.rotating`;
 * the other writes on meanwhile, a little over the bound.
 */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** Lines that wait for a disk that hangs; more are dropped. */
const waitingBytesMax = 1 << 20;
/** After a failure, so that a full disk is not asked for every line. */
const pauseAfterFailureMs = 1_000;
/** A rotation that takes longer has lost its process. */
const rotationMsMax = 10_000;

export interface RotatingFileOptions {
  readonly path: string;
  readonly bytesMax: number;
  /** Files in all, the current one included. */
  readonly filesMax: number;
  /** What is written in place of the lines that were lost. */
  readonly lostLine: (lines: number) => string;
}

export class RotatingFile {
  readonly #options: RotatingFileOptions;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #appending = "";
  #handle: FileHandle | undefined;
  #writing: Promise<void> | undefined;
  #pausedUntilMs = 0;
  #closed = false;

  constructor(options: RotatingFileOptions) { this.#options = options; }

  /** @param line one, its line break included. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#closed || this.#waitingBytes + bytes > waitingBytesMax) { this.#lost += 1; return; }
    this.#waiting.push(line);
    this.#waitingBytes += bytes;
    this.#writing ??= this.#drain();
  }

  /** Resolves when everything written so far is in the file or lost. */
  async flush(): Promise<void> { while (this.#writing) await this.#writing; }

  /** For the end of the process: what still waits is appended at once. Never throws. */
  closeSync(): void {
    this.#closed = true;
    void this.#release();
    // What is being appended just now may not arrive any more: rather twice than not at all.
    const rest = this.#appending + this.#take();
    if (rest === "") return;
    try {
      mkdirSync(dirname(this.#options.path), { recursive: true, mode: 0o700 });
      const file = openSync(this.#options.path, "a", 0o600);
      try { writeSync(file, rest); } finally { closeSync(file); }
    } catch { /* the process ends; there is nobody left to tell */ }
  }

  async #drain(): Promise<void> {
    // Lines of one turn are one append.
    await Promise.resolve();
    while (this.#waiting.length > 0 && !this.#closed) {
      const lines = this.#waiting.length;
      const text = this.#take();
      if (Date.now() < this.#pausedUntilMs) { this.#lost += lines; continue; }
      const lost = this.#lost;
      // A full disk may have taken half a line: the line break keeps it from spoiling the next.
      this.#appending = lost > 0 ? `\n${this.#options.lostLine(lost)}${text}` : text;
      try {
        const handle = await this.#ready(Buffer.byteLength(this.#appending));
        await handle.appendFile(this.#appending);
        this.#lost -= lost;
        this.#appending = "";
      } catch {
        this.#appending = "";
        this.#lost += lines;
        this.#pausedUntilMs = Date.now() + pauseAfterFailureMs;
        await this.#release();
      }
    }
    this.#writing = undefined;
  }

  #take(): string {
    const text = this.#waiting.join("");
    this.#waiting = [];
    this.#waitingBytes = 0;
    return text;
  }

  /** The file, with room for that many bytes. */
  async #ready(bytes: number): Promise<FileHandle> {
    const { path, bytesMax } = this.#options;
    // Another process may have written, or rotated, meanwhile: then `path` is another file by now.
    const there = await stat(path).catch(() => undefined);
    if (this.#handle && (await this.#handle.stat()).ino !== there?.ino) await this.#release();
    if (there && there.size > 0 && there.size + bytes > bytesMax) {
      await this.#release();
      await this.#rotateAlone(bytes);
    }
    this.#handle ??= await this.#open();
    return this.#handle;
  }

  async #open(): Promise<FileHandle> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await open(path, "a", 0o600);
  }

  /** Two that rename the same files at once would write one over the other. */
  async #rotateAlone(bytes: number): Promise<void> {
    const { path, bytesMax } = this.#options;
    const lock = `${path}.rotating`;
    try {
      await mkdir(lock, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const since = await stat(lock).catch(() => undefined);
      if (since && Date.now() - since.mtimeMs > rotationMsMax) await rmdir(lock).catch(() => undefined);
      return;
    }
    try {
      const there = await stat(path).catch(() => undefined);
      if (there && there.size + bytes > bytesMax) await this.#rotate();
    } finally { await rmdir(lock).catch(() => undefined); }
  }

  async #rotate(): Promise<void> {
    const { path, filesMax } = this.#options;
    if (filesMax <= 1) { await rm(path, { force: true }); return; }
    for (let index = filesMax - 1; index >= 1; index -= 1) {
      const from = index === 1 ? path : `${path}.${index - 1}`;
      await rename(from, `${path}.${index}`).catch((error: NodeJS.ErrnoException) => { if (error.code !== "ENOENT") throw error; });
    }
  }

  async #release(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }
}
