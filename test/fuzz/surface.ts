/** What is fuzzed: something that takes what a stranger sends. A case is decided by its random numbers alone, so that a seed and an index replay it. */
import { MinidError } from "../../src/core/errors.js";
import type { Random } from "../chaos/random.js";

export interface Surface {
  readonly name: string;
  readonly about: string;
  /** Of a full run. */
  readonly cases: number;
  /** Of the short slice in `npm test`; 0: it needs processes of its own. */
  readonly slice: number;
  readonly open: () => Target | Promise<Target>;
}

export interface Target {
  /** Throws when the case found a fault. */
  readonly run: (random: Random) => void | Promise<void>;
  readonly close?: () => void | Promise<void>;
}

export class Fault extends Error {
  override readonly name = "Fault";
}

/** A refusal with a catalogued error is what is wanted; a bug of our own, or any other error, is a fault. */
export function refusalOrResult<T>(call: () => T): T | undefined {
  try { return call(); } catch (error) { return refusal(error); }
}

export async function refusalOrResultOf<T>(call: Promise<T>): Promise<T | undefined> {
  try { return await call; } catch (error) { return refusal(error); }
}

function refusal(error: unknown): undefined {
  if (error instanceof MinidError && error.code !== "internal_error") return undefined;
  throw error;
}
