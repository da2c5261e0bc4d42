/**
 * The ring's key-value slots as the scheduler keeps account of them: who owns which, which tokens each holds, and the memory
 * behind it in tokens. Finished sequences leave their slot behind as a cached prefix until somebody needs the place.
 *
 * Invariant: the charges of all slots together never exceed `kvTokensMax`. A slot is charged for the larger of what its
 * owner reserved and what it has held since it was last dropped, because a rewound cache keeps its memory.
 */
import { invariant } from "../../core/invariant.js";
import type { CacheOp, KeptSlot } from "../../core/worker-protocol.js";

export interface Slot {
  readonly index: number;
  state: "free" | "active" | "cached";
  /** The first `length` of these are in the cache; the last of them may not be sampled yet. */
  tokens: readonly number[];
  length: number;
  /** Leading tokens that any sequence may share: computed in chunks, or by an engine that rounds both ways alike. */
  sharable: number;
  /** Ranks that do not hold what the others do: only for a cached slot, after a ring was lost (keeping.ts). */
  lacking: readonly number[];
  reserved: number;
  touched: number;
  usedMs: number;
}

export interface Prefix { readonly slot: Slot; readonly length: number }

const charge = (slot: Slot): number => Math.max(slot.reserved, slot.touched);

function commonLength(a: readonly number[], b: readonly number[], max: number): number {
  let length = 0;
  while (length < max && a[length] === b[length]) length += 1;
  return length;
}

export class SlotTable {
  readonly #slots: Slot[];
  readonly #kvTokensMax: number;
  readonly #prefixMin: number;

  constructor(count: number, kvTokensMax: number, prefixMin: number) {
    this.#kvTokensMax = kvTokensMax;
    this.#prefixMin = prefixMin;
    this.#slots = Array.from({ length: count }, (_, index) => ({ index, state: "free", tokens: [], length: 0, sharable: 0, lacking: [], reserved: 0, touched: 0, usedMs: 0 }));
  }

  at(index: number): Slot {
    const slot = this.#slots[index];
    invariant(slot, `no slot ${index}`);
    return slot;
  }

  /** The slot that holds the longest prefix of `tokens`, at most `max` of them; undefined when none is worth it. @param whole on every rank, so that it can be copied. */
  longestPrefix(tokens: readonly number[], max: number, whole: boolean): Prefix | undefined {
    let best: Prefix | undefined;
    for (const slot of this.#slots) {
      if (whole && slot.lacking.length > 0) continue;
      const limit = Math.min(max, slot.sharable);
      if (limit < this.#prefixMin || limit <= (best?.length ?? 0)) continue;
      const length = commonLength(slot.tokens, tokens, limit);
      if (length >= this.#prefixMin && length > (best?.length ?? 0)) best = { slot, length };
    }
    return best;
  }

  /**
   * Gives out a slot with `reserve` tokens of memory, evicting the least recently used prefixes where that is needed; their drops go to `ops`.
   * A wholly used-up prefix is taken over in place: the slot then still holds `prefix.length` tokens, and its new owner rewinds it to them.
   * @returns undefined when running sequences hold too much.
   */
  acquire(reserve: number, prefix: Prefix | undefined, ops: CacheOp[]): Slot | undefined {
    const takeOver = prefix && this.#worthTakingOver(prefix, reserve) ? prefix : undefined;
    const chosen = takeOver?.slot ?? this.#slots.find((slot) => slot.state === "free") ?? this.#leastRecent(prefix?.slot) ?? this.#leastRecent(undefined);
    if (!chosen) return undefined;
    const held = chosen === takeOver?.slot ? chosen.touched : 0;
    const need = Math.max(reserve, held);
    if (this.#charged("active") + need > this.#kvTokensMax) return undefined;
    if (chosen.state === "cached" && chosen !== takeOver?.slot) this.#drop(chosen, ops);
    this.#evict(need - (chosen.state === "cached" ? charge(chosen) : 0), [chosen, prefix?.slot], ops);
    chosen.state = "active";
    chosen.reserved = reserve;
    chosen.length = takeOver?.length ?? 0;
    chosen.sharable = chosen.length;
    return chosen;
  }

  /** Reserves more for a running sequence, evicting cached prefixes where that is needed. @returns false when running sequences hold too much. */
  grow(slot: Slot, reserve: number, ops: CacheOp[]): boolean {
    const more = Math.max(reserve, slot.touched) - charge(slot);
    if (this.#charged("active") + more > this.#kvTokensMax) return false;
    this.#evict(more, [], ops);
    slot.reserved = reserve;
    return true;
  }

  /** A slot's content grew or was copied into: `length` of `tokens` are in the cache now. */
  hold(slot: Slot, tokens: readonly number[], length: number, sharable: number): void {
    invariant(length <= slot.reserved, `slot ${slot.index} holds ${length} tokens but reserved ${slot.reserved}`);
    slot.tokens = tokens;
    slot.length = length;
    slot.sharable = Math.min(length, sharable);
    slot.touched = Math.max(slot.touched, length);
  }

  /** Its owner is done: what it holds stays as a cached prefix when that is worth it and no other slot holds the same. */
  release(slot: Slot, nowMs: number, ops: CacheOp[]): void {
    invariant(slot.state === "active", `slot ${slot.index} released twice`);
    slot.state = "cached";
    slot.reserved = 0;
    slot.usedMs = nowMs;
    // A row may have been computed for a token that nobody waited for.
    slot.sharable = Math.min(slot.sharable, slot.tokens.length);
    slot.length = slot.sharable;
    slot.tokens = slot.tokens.slice(0, slot.sharable);
    if (slot.length < this.#prefixMin) { this.#drop(slot, ops); return; }
    for (const other of this.#slots) {
      if (other === slot || other.state !== "cached") continue;
      const shorter = other.length <= slot.length ? other : slot;
      if (commonLength(other.tokens, slot.tokens, shorter.length) < shorter.length) continue;
      this.#drop(shorter, ops);
      if (shorter === slot) { other.usedMs = nowMs; return; }
    }
  }

  touch(slot: Slot, nowMs: number): void { slot.usedMs = nowMs; }

  /** Drops cached prefixes that nobody used since `beforeMs`. */
  expire(beforeMs: number, ops: CacheOp[]): void {
    for (const slot of this.#slots) if (slot.state === "cached" && slot.usedMs < beforeMs) this.#drop(slot, ops);
  }

  /** What is cached and worth keeping when the ring is lost. @param bound tokens of a slot that are certain. */
  certain(bound: (slot: number) => number): KeptSlot[] {
    return this.#slots.flatMap(({ index, tokens, length, sharable, state }) => {
      const certain = Math.min(tokens.length, length, sharable, bound(index));
      return state === "free" || certain < this.#prefixMin ? [] : [{ slot: index, length: certain }];
    });
  }

  /** A new run begins: what is kept becomes a cached prefix, everything else is dropped on every rank. */
  retain(kept: readonly KeptSlot[], ops: CacheOp[]): void {
    const lengths = new Map(kept.map(({ slot, length }) => [slot, length]));
    for (const slot of this.#slots) {
      const length = lengths.get(slot.index);
      if (length === undefined) { this.#drop(slot, ops); continue; }
      slot.state = "cached";
      slot.reserved = 0;
      slot.tokens = slot.tokens.slice(0, length);
      slot.length = length;
      slot.sharable = length;
      slot.lacking = [];
    }
  }

  /** What the ranks say of a kept slot. @param lacking undefined: it is of no use. */
  settle(index: number, lacking: readonly number[] | undefined, ops: CacheOp[]): void {
    const slot = this.at(index);
    if (slot.state !== "cached") return;
    if (lacking) slot.lacking = lacking;
    else this.#drop(slot, ops);
  }

  count(state: Slot["state"]): number { return this.#slots.reduce((sum, slot) => sum + (slot.state === state ? 1 : 0), 0); }
  charged(state: Slot["state"]): number { return this.#charged(state); }

  #charged(state: Slot["state"]): number { return this.#slots.reduce((sum, slot) => sum + (slot.state === state ? charge(slot) : 0), 0); }

  /** In place when at least half of the cached tokens are shared (a conversation that goes on) or no other slot is free to copy to. */
  #worthTakingOver(prefix: Prefix, reserve: number): boolean {
    const { slot } = prefix;
    if (slot.state !== "cached") return false;
    if (slot.lacking.length > 0) return true;
    if (prefix.length * 2 >= slot.length) return true;
    const room = this.#charged("active") + this.#charged("cached") + reserve <= this.#kvTokensMax;
    return !room || !this.#slots.some((other) => other.state === "free");
  }

  /** Drops cached prefixes, least recently used first, until `more` tokens fit. @param last the first of these stays, the others go when nothing else is left. */
  #evict(more: number, last: readonly (Slot | undefined)[], ops: CacheOp[]): void {
    while (this.#charged("active") + this.#charged("cached") + more > this.#kvTokensMax) {
      const victim = this.#leastRecent(...last) ?? this.#leastRecent(last[0]);
      invariant(victim, "key-value memory is missing though no cached prefix holds it");
      this.#drop(victim, ops);
    }
  }

  #leastRecent(...except: readonly (Slot | undefined)[]): Slot | undefined {
    let oldest: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.state === "cached" && !except.includes(slot) && (!oldest || slot.usedMs < oldest.usedMs)) oldest = slot;
    }
    return oldest;
  }

  #drop(slot: Slot, ops: CacheOp[]): void {
    slot.state = "free";
    slot.tokens = [];
    slot.length = 0;
    slot.sharable = 0;
    slot.lacking = [];
    slot.reserved = 0;
    slot.touched = 0;
    ops.push({ op: "drop", drop: { slot: slot.index } });
  }
}
