/**
 * The records of one node: its own answers and those it keeps for others. Pure.
 *
 * Invariants: the claim of a record never falls; what a lower claim says is refused; records are bounded in number, bytes and
 * time, the longest untouched goes first, and one that is being answered here (`hold`) never goes.
 */
import type { AnswerLog, AnswerRecord, AnswerUpdate, Claim } from "./record.js";
import { isAbove, takeParts } from "./record.js";

export interface LedgerLimits {
  readonly recordsMax: number;
  readonly bytesMax: number;
  /** Since the last claim or update. */
  readonly keepMs: number;
}

export const defaultLedgerLimits: LedgerLimits = Object.freeze({ recordsMax: 1_000, bytesMax: 64 << 20, keepMs: 600_000 });

export interface ClaimAsked { readonly key: string; readonly digest: string; readonly claim: Claim }

export type ClaimVerdict =
  /** `before`: the claim that held until now, undefined when the key was not known. */
  | { readonly kind: "granted"; readonly record: AnswerRecord; readonly before: Claim | undefined }
  /** A claim as high or higher was granted. */
  | { readonly kind: "behind"; readonly highest: Claim }
  /** The key belongs to another request. */
  | { readonly kind: "reused" };

/** More sequences than one request can have; more in a record is a member's nonsense. */
const logsMax = 64;

interface Entry { readonly record: AnswerRecord; touchedAt: number; bytes: number; held: boolean }

export class AnswerLedger {
  readonly #limits: LedgerLimits;
  /** The longest untouched first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(limits: LedgerLimits) { this.#limits = limits; }

  get size(): number { return this.#entries.size; }
  get bytes(): number { return this.#bytes; }

  find(key: string, now: number): AnswerRecord | undefined {
    this.#expire(now);
    return this.#entries.get(key)?.record;
  }

  claim({ key, digest, claim }: ClaimAsked, now: number): ClaimVerdict {
    const known = this.find(key, now);
    if (!known) {
      const record: AnswerRecord = { key, digest, claim, head: undefined, logs: new Map() };
      this.#enter(record, now);
      return { kind: "granted", record, before: undefined };
    }
    if (known.digest !== digest && known.head !== undefined) return { kind: "reused" };
    if (!isAbove(claim, known.claim)) return { kind: "behind", highest: known.claim };
    const before = known.claim;
    known.claim = claim;
    // Nobody began to answer what was asked before: a request that was refused leaves its key free.
    known.digest = digest;
    this.#touch(key, now);
    return { kind: "granted", record: known, before };
  }

  keep(update: AnswerUpdate, now: number): "kept" | "behind" | "gap" {
    const { key, digest, claim, head, logs } = update;
    let known = this.find(key, now);
    if (known && isAbove(known.claim, claim)) return "behind";
    if (!known || known.digest !== digest) {
      if (known) this.forget(key);
      known = { key, digest, claim, head, logs: new Map() };
      this.#enter(known, now);
    }
    known.claim = claim;
    known.head = head;
    const room = logs.filter(({ requestId }) => known.logs.has(requestId) || known.logs.size < logsMax);
    const whole = takeParts(known, room);
    this.#touch(key, now);
    return whole ? "kept" : "gap";
  }

  /** A record that is being answered here stays. */
  hold(key: string, held: boolean, now: number): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.held = held;
    this.#touch(key, now);
  }

  forget(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }

  #enter(record: AnswerRecord, now: number): void {
    this.#entries.set(record.key, { record, touchedAt: now, bytes: 0, held: false });
    this.#touch(record.key, now);
  }

  /** Counts what it has grown to, and makes room. */
  #touch(key: string, now: number): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.touchedAt = now;
    this.#bytes -= entry.bytes;
    entry.bytes = bytesOf(entry.record);
    this.#bytes += entry.bytes;
    for (const [other, { held }] of this.#entries) {
      if (this.#entries.size <= this.#limits.recordsMax && this.#bytes <= this.#limits.bytesMax) break;
      if (!held && other !== key) this.forget(other);
    }
  }

  #expire(now: number): void {
    for (const [key, { touchedAt, held }] of this.#entries) {
      if (now - touchedAt <= this.#limits.keepMs) break;
      if (!held) this.forget(key);
    }
  }
}

const recordBytes = 512;

function bytesOf({ head, logs }: AnswerRecord): number {
  const tokens = [...logs.values()].reduce((sum: number, log: AnswerLog) => sum + log.bytes, 0);
  return recordBytes + (head?.context?.length ?? 0) * 2 + tokens;
}
