/** A small, fast generator (sfc32) so that a seed decides everything. Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  constructor(seed: number, stream = 0) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = stream >>> 0;
    for (let round = 0; round < 12; round += 1) this.next();
  }

  /** In [0, 1). */
  next(): number {
    const t = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  }

  chance(probability: number): boolean { return this.next() < probability; }
  /** An integer in [from, to]. */
  int(from: number, to: number): number { return from + Math.floor(this.next() * (to - from + 1)); }
  between(from: number, to: number): number { return from + this.next() * (to - from); }
  pick<T>(items: readonly T[]): T { return items[Math.floor(this.next() * items.length)] as T; }
}
