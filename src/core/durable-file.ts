/**
 * Small state files that must survive a crash at any instant: epochs, identity, peers, tokens.
 *
 * Invariants: a reader sees the whole old value or the whole new one, never a mixture; when `writeDurable` has resolved, the
 * value outlives a power cut (file and directory are fsynced); the file is readable by its owner only; damage is noticed (the
 * envelope carries a checksum) and reported with the file's name and what to do, never read as a default.
 *
 * Two writes of one process to one file must be awaited one after the other; what two processes write is each whole, the last
 * one wins. Not for big or frequently written data: every write is two fsyncs.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { z } from "zod";
import { MinidError } from "./errors.js";

const ownerOnlyFile = 0o600;
const ownerOnlyDirectory = 0o700;
const stateBytesMax = 8 << 20;

const checksum = (text: string): string => createHash("sha256").update(text).digest("hex");

const codeOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;

const unusable = (file: string, action: string, remedy: string, cause: unknown): MinidError =>
  new MinidError("home_unusable", `${file} cannot be ${action} (${codeOf(cause) ?? String(cause)}): ${remedy}.`, { cause });

const damaged = (file: string, why: string, cause?: unknown): MinidError =>
  new MinidError("home_unusable", `${file} is damaged (${why}): restore it from a backup, or move it away to start without what it held.`, { cause });

/**
 * @returns the value last written, or undefined when the file does not exist.
 * @throws MinidError home_unusable when the file cannot be read, is damaged, or does not match the schema.
 */
export async function readDurable<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    return parse(file, await readFile(file, "utf8"), schema);
  } catch (error) { return missing(file, error); }
}

/** The same for the few callers that must answer within one callback (a TLS handshake). */
export function readDurableSync<T>(file: string, schema: z.ZodType<T>): T | undefined {
  try {
    return parse(file, readFileSync(file, "utf8"), schema);
  } catch (error) { return missing(file, error); }
}

/**
 * Replaces the file, creating its directory (owner only) when it is missing.
 * @param value JSON-serializable.
 * @throws MinidError home_unusable when it cannot be written; the old value is then still there.
 */
export async function writeDurable(file: string, value: unknown): Promise<void> {
  const body = JSON.stringify(value);
  await writeDurableBytes(file, `{"sha256":"${checksum(body)}","value":${body}}\n`);
}

/** The same care for a file whose format is not ours (PEM): no envelope, no checksum. */
export async function writeDurableBytes(file: string, data: string | Uint8Array): Promise<void> {
  const directory = dirname(file);
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    await mkdir(directory, { recursive: true, mode: ownerOnlyDirectory });
    await withHandle(await open(temporary, "wx", ownerOnlyFile), async (handle) => {
      await handle.writeFile(data);
      await handle.sync();
    });
    await rename(temporary, file);
    await withHandle(await open(directory, "r"), (handle) => handle.sync());
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw unusable(file, "written", "check that its directory exists, is writable by minid's user and has free space", error);
  }
}

async function withHandle(handle: FileHandle, use: (handle: FileHandle) => Promise<void>): Promise<void> {
  try { await use(handle); } finally { await handle.close(); }
}

function missing(file: string, error: unknown): undefined {
  if (error instanceof MinidError) throw error;
  if (codeOf(error) !== "ENOENT") throw unusable(file, "read", "check that minid's user may read it, and the disk", error);
}

function parse<T>(file: string, text: string, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(unwrap(file, text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damaged(file, `${issue?.path.join(".") || "value"}: ${issue?.message ?? "does not match"}`, parsed.error);
}

function unwrap(file: string, text: string): unknown {
  if (text.length > stateBytesMax) throw damaged(file, `it has ${text.length} characters, more than minid ever writes`);
  let envelope: unknown;
  try { envelope = JSON.parse(text); } catch (error) { throw damaged(file, "it is not complete JSON", error); }
  if (typeof envelope !== "object" || envelope === null || !("sha256" in envelope) || !("value" in envelope)) throw damaged(file, "it has no checksum");
  if (checksum(JSON.stringify(envelope.value)) !== envelope.sha256) throw damaged(file, "its checksum does not match");
  return envelope.value;
}
