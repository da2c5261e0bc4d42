/**
 * Where somebody may be: what discovery, the configuration and the last run's memory introduced. Nobody here counts as a member:
 * an address is called on, ever more seldom, until a heartbeat comes back.
 */
import { type BackoffPolicy, backoffMs } from "../../core/backoff.js";
import type { NodeId } from "../../core/ids.js";

/** Addresses remembered; the one longest without an introduction gives way. */
const ADDRESSES_MAX = 64;
const dialBackoff: BackoffPolicy = { initialMs: 1_000, factor: 1.5, maxMs: 15_000 };

interface Entry {
  readonly address: string;
  nodeId: NodeId | undefined;
  /** Configured addresses never give way. */
  readonly pinned: boolean;
  introducedAt: number;
  dialledAt: number;
  attempts: number;
}

export class AddressBook {
  readonly #entries = new Map<string, Entry>();

  introduce(address: string, nodeId: NodeId | undefined, pinned: boolean, now: number): void {
    const entry = this.#entries.get(address);
    if (entry) {
      // Introduced again: somebody was just seen there, so it is worth calling soon.
      entry.introducedAt = now;
      if (nodeId !== undefined) entry.nodeId = nodeId;
      entry.attempts = Math.min(entry.attempts, 1);
      return;
    }
    if (this.#entries.size >= ADDRESSES_MAX) this.#makeRoom();
    this.#entries.set(address, { address, nodeId, pinned, introducedAt: now, dialledAt: -Infinity, attempts: 0 });
  }

  /** Addresses to call on now, except those of nodes in `reached`. */
  due(reached: (nodeId: NodeId | undefined, address: string) => boolean, now: number): readonly { readonly address: string; readonly nodeId: NodeId | undefined }[] {
    if (this.#entries.size === 0) return none;
    const due: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (now - entry.dialledAt < backoffMs(dialBackoff, entry.attempts) || reached(entry.nodeId, entry.address)) continue;
      entry.dialledAt = now;
      entry.attempts += 1;
      due.push(entry);
    }
    return due;
  }

  /** Introduced addresses of a node. */
  of(nodeId: NodeId): readonly string[] {
    const found: string[] = [];
    for (const entry of this.#entries.values()) if (entry.nodeId === nodeId) found.push(entry.address);
    return found;
  }

  forget(nodeId: NodeId): void {
    for (const [address, entry] of this.#entries) if (entry.nodeId === nodeId && !entry.pinned) this.#entries.delete(address);
  }

  #makeRoom(): void {
    let oldest: Entry | undefined;
    for (const entry of this.#entries.values()) if (!entry.pinned && (!oldest || entry.introducedAt < oldest.introducedAt)) oldest = entry;
    if (oldest) this.#entries.delete(oldest.address);
  }
}

const none: readonly { readonly address: string; readonly nodeId: NodeId | undefined }[] = Object.freeze([]);
