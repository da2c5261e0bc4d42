/**
 * The logs of one home: the last lines of all its files, in the order of time, and then what is added, for as long as one listens.
 * Reads the files only, so it works beside a running node as well as after its death. Files that rotate meanwhile are followed.
 */
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "../../core/clock.js";
import { type LogFilter, type LogLine, byTime, passes, readLine } from "./log-line.js";

const processes = ["agent", "worker", "agent.out", "worker.out"] as const;
const pollMs = 250;
/** Read from the end of a file for its last lines; and at a go when following, so that a flood does not fill the memory. */
const readBytesMax = 4 << 20;
export const linesMax = 10_000;

export interface TailOptions extends LogFilter {
  readonly home: string;
  /** How many lines of the past, at most `linesMax`. */
  readonly lines: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** The first batch is the past, and always comes; the others are what is added. Lines in the order of time. */
export interface LogBatch { readonly lines: readonly LogLine[]; readonly live: boolean }

interface Position { readonly process: string; readonly path: string; inode: number; offset: number; rest: string; time: string }

/** Ends with the last line there is, or when the signal aborts. */
export async function* tailLogs(options: TailOptions): AsyncGenerator<LogBatch> {
  const { home, follow, signal } = options;
  const positions = processes.map((name): Position => ({ process: name, path: join(home, "logs", `${name}.log`), inode: 0, offset: 0, rest: "", time: "" }));
  const past: LogLine[] = [];
  for (const position of positions) past.push(...await lastLines(position, options));
  const kept = Math.min(options.lines, linesMax);
  yield { lines: kept > 0 ? past.sort(byTime).slice(-kept) : [], live: false };
  if (!follow) return;
  while (!signal.aborted) {
    const fresh: LogLine[] = [];
    for (const position of positions) fresh.push(...(await added(position)).filter((line) => passes(line, options)));
    if (fresh.length > 0) yield { lines: fresh.sort(byTime), live: true };
    else await sleep(pollMs, { signal }).catch(() => undefined);
  }
}

/** The end of the current file, and of the one before when that is short; leaves the position at the end. */
async function lastLines(position: Position, options: TailOptions): Promise<LogLine[]> {
  const older = options.lines > 0 ? await textOf(`${position.path}.1`, readBytesMax) : undefined;
  const current = await textOf(position.path, readBytesMax);
  if (current) { position.inode = current.inode; position.offset = current.size; }
  const found: LogLine[] = [];
  for (const text of [older?.text ?? "", current?.text ?? ""]) found.push(...linesOf(position, text));
  return found.filter((line) => passes(line, options)).slice(-linesMax);
}

/** What was appended since the last look. A rotated file is read to its end first. */
async function added(position: Position): Promise<LogLine[]> {
  const now = await stat(position.path).catch(() => undefined);
  if (!now) return [];
  let text = "";
  if (position.inode !== 0 && now.ino !== position.inode) {
    const before = await rotatedTo(position);
    if (before !== undefined) text += await textFrom(before, position.offset);
    position.offset = 0;
  } else if (now.size < position.offset) position.offset = 0;
  position.inode = now.ino;
  const fresh = now.size > position.offset ? await textFrom(position.path, position.offset) : "";
  position.offset += Buffer.byteLength(fresh);
  return linesOf(position, text + fresh);
}

/** Complete lines; the beginning of one waits for its end. */
function linesOf(position: Position, text: string): LogLine[] {
  const parts = (position.rest + text).split("\n");
  position.rest = parts.pop() ?? "";
  return parts.flatMap((part) => {
    const line = readLine(part, position.process, position.time);
    if (line) position.time = line.time;
    return line ?? [];
  });
}

async function rotatedTo({ path, inode }: Position): Promise<string | undefined> {
  const directory = join(path, "..");
  for (const name of await readdir(directory)) {
    const candidate = join(directory, name);
    if (candidate.startsWith(`${path}.`) && (await stat(candidate).catch(() => undefined))?.ino === inode) return candidate;
  }
  return undefined;
}

async function textOf(path: string, bytesMax: number): Promise<{ readonly text: string; readonly inode: number; readonly size: number } | undefined> {
  return await withFile(path, async (file) => {
    const { size, ino } = await file.stat();
    const from = Math.max(0, size - bytesMax);
    const text = await read(file, from, size - from);
    // Begun in the middle: the first line is not whole.
    return { text: from > 0 ? text.slice(text.indexOf("\n") + 1) : text, inode: ino, size };
  });
}

async function textFrom(path: string, offset: number): Promise<string> {
  return await withFile(path, async (file) => {
    const { size } = await file.stat();
    const text = await read(file, offset, Math.min(readBytesMax, Math.max(0, size - offset)));
    // Never half a character: only whole lines are taken, unless there is none.
    const end = text.lastIndexOf("\n");
    return end < 0 ? "" : text.slice(0, end + 1);
  }) ?? "";
}

async function read(file: FileHandle, position: number, length: number): Promise<string> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.toString("utf8", 0, bytesRead);
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return undefined;
  try { return await use(file); } finally { await file.close(); }
}
