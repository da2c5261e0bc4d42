/**
 * The header of a safetensors file, read by byte range and checked before anyone trusts an offset of it.
 * Layout (https://github.com/huggingface/safetensors#format): u64 little-endian header length, a JSON object
 * `{ name: { dtype, shape, data_offsets: [begin, end) } }` with offsets relative to the end of the header, then the data.
 *
 * Only the header is read here; the file's size stands for the data, so that a truncated download is noticed at open and not in
 * the middle of a load. Holes between tensors are accepted (aligning writers leave them), overlaps are not.
 */
import { open, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { MinidError } from "../core/errors.js";
import { repeatedKey } from "./json-keys.js";
import type { TensorDtype, TensorRef } from "./weights.js";

/** The reference implementation's own limit. */
export const headerBytesMax = 100_000_000;
const rankMax = 8;

export const dtypeBytes: Readonly<Record<TensorDtype, number>> = {
  BOOL: 1, U8: 1, I8: 1, U16: 2, I16: 2, F16: 2, BF16: 2, U32: 4, I32: 4, F32: 4, U64: 8, I64: 8, F64: 8,
};

const isDtype = (text: unknown): text is TensorDtype => typeof text === "string" && Object.hasOwn(dtypeBytes, text);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const fetchAgain = "fetch the file again";

/** An error of the file system, as the model's: absent, unreadable, or something stranger. */
export function unreadable(file: string, thrown: unknown): MinidError {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
  const why = code === "ENOENT" ? "does not exist" : code === "EACCES" ? "may not be read by minid's user" : `cannot be read (${code})`;
  return new MinidError("model_unreadable", `${file} ${why}: check the model's directory, or fetch the model again`, { cause: thrown });
}

/**
 * @param path a safetensors file; a symlink is followed and the refs name the real file.
 * @returns every tensor of the file by name.
 * @throws MinidError model_unreadable | model_corrupt | model_unsupported
 */
export async function readSafetensorsHeader(path: string): Promise<Map<string, TensorRef>> {
  let handle: FileHandle | undefined;
  try {
    const file = await realpath(path);
    handle = await open(file, "r");
    const { size } = await handle.stat();
    return parseHeader(path, file, await readHeaderBytes(handle, path, size), size);
  } catch (thrown) {
    throw thrown instanceof MinidError ? thrown : unreadable(path, thrown);
  } finally {
    await handle?.close();
  }
}

async function readHeaderBytes(handle: FileHandle, path: string, fileBytes: number): Promise<Buffer> {
  const lengthField = Buffer.alloc(8);
  if (fileBytes < 8 || (await handle.read(lengthField, 0, 8, 0)).bytesRead < 8) {
    throw new MinidError("model_corrupt", `${path} has ${fileBytes} bytes, too few for a safetensors header: ${fetchAgain}`);
  }
  const headerBytes = lengthField.readBigUInt64LE(0);
  if (headerBytes > BigInt(headerBytesMax)) {
    throw new MinidError("model_corrupt", `${path} claims a header of ${headerBytes} bytes, more than the ${headerBytesMax} that safetensors allows: it is damaged or not a safetensors file; ${fetchAgain}`);
  }
  const length = Number(headerBytes);
  if (8 + length > fileBytes) {
    throw new MinidError("model_corrupt", `${path} claims a header of ${length} bytes but has only ${fileBytes} bytes: it is truncated or damaged; ${fetchAgain}`);
  }
  const header = Buffer.alloc(length);
  await handle.read(header, 0, length, 8);
  return header;
}

/**
 * @param path as it is called in messages. @param file the real one, for the refs. @param bytes the header's JSON. @param fileBytes size of the whole file
 * @throws MinidError model_corrupt | model_unsupported
 */
export function parseHeader(path: string, file: string, bytes: Buffer, fileBytes: number): Map<string, TensorRef> {
  const text = bytes.toString("utf8");
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (thrown) {
    throw new MinidError("model_corrupt", `${path}: its header is not JSON: ${fetchAgain}`, { cause: thrown });
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new MinidError("model_corrupt", `${path}: its header is not a JSON object: ${fetchAgain}`);
  }
  const twice = repeatedKey(text);
  if (twice !== undefined) throw new MinidError("model_corrupt", `${path}: tensor ${twice} is described twice in the header: ${fetchAgain}`);

  const dataStart = 8 + bytes.length;
  const tensors = new Map<string, TensorRef>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, parseEntry(path, file, name, entry, dataStart, fileBytes));
  }
  refuseOverlaps(path, tensors);
  return tensors;
}

function parseEntry(path: string, file: string, name: string, entry: unknown, dataStart: number, fileBytes: number): TensorRef {
  const corrupt = (what: string): MinidError => new MinidError("model_corrupt", `${path}: tensor ${name} ${what}: ${fetchAgain}`);
  if (typeof entry !== "object" || entry === null) throw corrupt("has no description");
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== "string") throw corrupt("has no dtype");
  if (!isDtype(dtype)) {
    throw new MinidError("model_unsupported", `${path}: tensor ${name} has dtype ${dtype}, which minid does not read: use an unquantized or an MLX 4- or 8-bit version of the model`);
  }
  if (!Array.isArray(shape) || shape.length > rankMax || !shape.every(isCount)) throw corrupt(`has an invalid shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) throw corrupt(`has invalid offsets ${JSON.stringify(offsets)}`);
  const [begin, end] = offsets as [number, number];
  const dataBytes = fileBytes - dataStart;
  if (begin > end) throw corrupt(`ends (${end}) before it begins (${begin})`);
  if (end > dataBytes) throw corrupt(`lies at bytes ${begin} to ${end} of the data but the file has only ${dataBytes}: it is truncated or damaged`);
  const byteLength = shape.reduce((product: number, dimension: number) => product * dimension, dtypeBytes[dtype]);
  if (byteLength !== end - begin) throw corrupt(`of dtype ${dtype} and shape [${shape.join(", ")}] takes ${byteLength} bytes but its offsets span ${end - begin}`);
  return { name, file, offset: dataStart + begin, byteLength, dtype, shape };
}

function refuseOverlaps(path: string, tensors: ReadonlyMap<string, TensorRef>): void {
  const byOffset = [...tensors.values()].filter(tensor => tensor.byteLength > 0).sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < byOffset.length; i += 1) {
    const before = byOffset[i - 1]!;
    const tensor = byOffset[i]!;
    if (tensor.offset < before.offset + before.byteLength) {
      throw new MinidError("model_corrupt", `${path}: tensors ${before.name} and ${tensor.name} overlap: ${fetchAgain}`);
    }
  }
}
