/**
 * What is on disk, and what waits for it: nothing that depends on a record is said before the record is written.
 * A write that is not confirmed in time is asked for again.
 */
import { type Epoch, type NodeId, compareEpochs, epochZero } from "../../core/ids.js";
import type { ClusterEffect, DurableRecord } from "./contract.js";
import { FORGOTTEN_MAX, MEMBERS_MAX } from "./messages.js";

const RETRY_MS = 3_000;

type Peer = DurableRecord["peers"][number];

export class Durable {
  #record: DurableRecord;
  #pending: { id: number; since: number } | undefined;
  #nextId = 1;
  #dirty = false;

  /** @param counterFloor see `ClusterInit`. */
  constructor(loaded: DurableRecord | undefined, counterFloor: number) {
    const base = loaded ?? { incarnation: counterFloor, epoch: { ...epochZero, counter: counterFloor }, planVersion: 0, forgotten: [], peers: [] };
    this.#record = { ...base, incarnation: base.incarnation + 1 };
    this.#dirty = true;
  }

  get record(): DurableRecord { return this.#record; }

  incarnation(value: number): void { this.#change({ incarnation: value }); }
  planVersion(value: number): void { if (value > this.#record.planVersion) this.#record = { ...this.#record, planVersion: value }; }
  epoch(epoch: Epoch): void { if (compareEpochs(epoch, this.#record.epoch) > 0) this.#change({ epoch }); }
  peers(peers: readonly Peer[]): void { this.#change({ peers: peers.slice(0, MEMBERS_MAX) }); }

  /** @returns true when the id is new. */
  forget(id: NodeId): boolean {
    if (this.#record.forgotten.includes(id)) return false;
    this.#change({ forgotten: [...this.#record.forgotten, id].slice(-FORGOTTEN_MAX), peers: this.#record.peers.filter((peer) => peer.nodeId !== id) });
    return true;
  }

  /** Writes what changed, or what was not confirmed. @returns the id whose confirmation covers everything up to now. */
  flush(effects: ClusterEffect[], now: number): number {
    const overdue = this.#pending !== undefined && now - this.#pending.since > RETRY_MS;
    if (this.#dirty || overdue) {
      this.#dirty = false;
      this.#pending = { id: this.#nextId, since: now };
      this.#nextId += 1;
      effects.push({ kind: "persist", id: this.#pending.id, record: this.#record });
    }
    return this.#nextId - 1;
  }

  persisted(id: number): void { if (this.#pending && id >= this.#pending.id) this.#pending = undefined; }

  #change(change: Partial<DurableRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.#dirty = true;
  }
}
