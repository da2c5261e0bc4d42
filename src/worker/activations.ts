/**
 * Activations on the wire: float32, little-endian, as all machines that minid runs on keep them in memory. TLS guards them between two
 * network cards; the checksum guards them from the memory of one engine to that of the next, where a wrong bit would be a wrong answer.
 */
import { crc32 } from "node:zlib";
import { MinidError } from "../core/errors.js";
import type { Frame } from "../core/worker-protocol.js";
import type { Activations } from "./thread-protocol.js";

/** The same memory as bytes. */
export const toWire = (values: Activations): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** What a frame carries of them: two microseconds for a row of 576 numbers, 1.6 ms for a megabyte. */
export function sealed(values: Activations): Required<Pick<Frame, "hidden" | "checksum">> {
  const hidden = toWire(values);
  return { hidden, checksum: crc32(hidden) };
}

/** @throws MinidError stage_lost when they are not what was sealed: the step is computed again. */
export function unsealed({ hidden, checksum }: Pick<Frame, "hidden" | "checksum">): Activations {
  if (checksum !== undefined && crc32(hidden) !== checksum) throw new MinidError("stage_lost", `${hidden.byteLength} bytes of activations were changed on their way from the rank before: their checksum is not the one that was sent; if it happens again, the memory or the network card of one of the two machines is faulty`);
  return fromWire(hidden);
}

/** A copy in a buffer of its own: a message's bytes are seldom aligned, and the engine thread is given the memory. @throws MinidError invalid_value */
export function fromWire(bytes: Uint8Array): Activations {
  if (bytes.byteLength % 4 !== 0) throw new MinidError("invalid_value", `${bytes.byteLength} bytes of activations are not a whole number of float32`);
  const values = new Float32Array(bytes.byteLength / 4);
  new Uint8Array(values.buffer).set(bytes);
  return values;
}
