/** Activations on the wire: float32, little-endian, as all machines that minid runs on keep them in memory. */
import { MinidError } from "../core/errors.js";
import type { Activations } from "./thread-protocol.js";

/** The same memory as bytes. */
export const toWire = (values: Activations): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** A copy in a buffer of its own: a message's bytes are seldom aligned, and the engine thread is given the memory. @throws MinidError invalid_value */
export function fromWire(bytes: Uint8Array): Activations {
  if (bytes.byteLength % 4 !== 0) throw new MinidError("invalid_value", `${bytes.byteLength} bytes of activations are not a whole number of float32`);
  const values = new Float32Array(bytes.byteLength / 4);
  new Uint8Array(values.buffer).set(bytes);
  return values;
}
