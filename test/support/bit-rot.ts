/** A disk that loses a bit: the byte changes, and nobody has written the file as far as its times tell. */
import { open, stat, utimes } from "node:fs/promises";
import type { TensorRef } from "../../src/model/weights.js";

/** Flips one bit in the middle of the tensor. Again, and it is as it was. */
export async function flipBit({ file, offset, byteLength }: TensorRef): Promise<void> {
  const { atime, mtimeMs } = await stat(file);
  const at = offset + (byteLength >> 1);
  const handle = await open(file, "r+");
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte[0] = byte[0]! ^ 0x10;
    await handle.write(byte, 0, 1, at);
  } finally { await handle.close(); }
  // Within the same second, whatever is lost in the conversion.
  await utimes(file, atime, Math.floor(mtimeMs / 1_000) + 0.5);
}
