/** The network between machines: datagrams that may be lost, late, doubled and out of order, over links that may be cut in either direction. */
import type { Agenda } from "./agenda.js";
import type { Random } from "./random.js";

const RETRANSMIT_MS = 200;

export class Network {
  readonly #agenda: Agenda;
  readonly #random: Random;
  readonly #size: number;
  readonly #delayMs: number;
  /** How many faults block the link from → to. */
  readonly #blocked: Uint8Array;
  readonly #addresses = new Map<string, number>();
  /** Most severe of the active faults of each kind. */
  readonly loss: number[] = [];
  readonly delays: number[] = [];
  readonly duplicates: number[] = [];
  delivered = 0;
  #broken = 0;
  #troubledAt = 0;

  constructor(agenda: Agenda, random: Random, size: number, delayMs: number) {
    this.#agenda = agenda;
    this.#random = random;
    this.#size = size;
    this.#delayMs = delayMs;
    this.#blocked = new Uint8Array(size * size);
  }

  /** Which machine has this host name now. */
  claim(host: string, machine: number): void { this.#addresses.set(host, machine); }
  release(host: string): void { this.#addresses.delete(host); }
  machineAt(address: string): number | undefined { return this.#addresses.get(address.slice(0, address.indexOf(":"))); }

  /** When the network last was worse than what must not disturb anybody. */
  get troubledAt(): number {
    const mild = this.#broken === 0 && this.loss.every((share) => share <= 0.2) && this.delays.every((upToMs) => upToMs <= 200);
    return mild ? this.#troubledAt : this.#agenda.now;
  }
  /** To be told before a network fault ends. */
  touch(): void { this.#troubledAt = this.troubledAt; }

  block(from: number, to: number, by: 1 | -1): void {
    this.touch();
    this.#broken += by;
    this.#blocked[from * this.#size + to] = (this.#blocked[from * this.#size + to] as number) + by;
  }
  linked(from: number, to: number): boolean { return this.#blocked[from * this.#size + to] === 0; }

  /** Blocks both directions between the machines whose bits in `side` differ. */
  split(side: number, by: 1 | -1): void {
    for (let from = 0; from < this.#size; from += 1) {
      for (let to = 0; to < this.#size; to += 1) if (((side >> from) & 1) !== ((side >> to) & 1)) this.block(from, to, by);
    }
  }

  send(from: number, to: number, deliver: () => void): void {
    const random = this.#random;
    if (!this.linked(from, to)) return;
    if (this.loss.length > 0 && random.chance(Math.max(...this.loss))) return;
    this.#later(deliver);
    if (this.duplicates.length > 0 && random.chance(Math.max(...this.duplicates))) this.#later(deliver);
  }

  /** How long a piece of a stream takes over a working link; what is lost is sent again. */
  transit(from: number, to: number): number {
    if (from === to) return 0;
    const upToMs = this.delays.length > 0 ? Math.max(...this.delays) : this.#delayMs;
    const resent = this.loss.length > 0 && this.#random.chance(Math.max(...this.loss)) ? RETRANSMIT_MS : 0;
    return this.#random.between(0.05, upToMs) + resent;
  }

  #later(deliver: () => void): void {
    this.delivered += 1;
    const upToMs = this.delays.length > 0 ? Math.max(...this.delays) : this.#delayMs;
    this.#agenda.after(this.#random.between(0.05, upToMs), deliver);
  }
}
