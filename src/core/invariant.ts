/**
 * Our own bugs. A broken invariant is never handled: the process crashes and its supervisor starts it again
 * from a known state. For what the world does to us (bad input, lost peers, full disks) see `errors.ts`.
 */
export class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
}

/** @throws InvariantViolation when `condition` is false. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}

/** For the `default` of a switch over a union: the compiler proves that it cannot be reached. */
export function unreachable(value: never): never {
  throw new InvariantViolation(`unreachable case: ${JSON.stringify(value)}`);
}
